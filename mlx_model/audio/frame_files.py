"""Files made of frames or pages that one decoder reads in a row: FLAC, Ogg (Vorbis, Opus, ...) and MP3.

`look` finds where the first recording ends and another begins, and the first frame behind a wrong ID3 tag. MP3 frames
without the tag that counts them (Xing, Info) may be joined as one likes, and are one recording. Stdlib only.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from mlx_model.files.found import Found, at, places

MOST_PAGES = 2_000_000  # of Ogg, 8 GB: a hostile file of smaller ones must not keep us busy for hours
LONGEST_SEARCH = 16 << 20  # bytes behind a wrong ID3 tag; a picture on a sleeve has less
FRAMES_IN_A_ROW = 4  # MPEG frames, each where the one before ends: not chance
PADDING_S = 0.5  # a tag counts what encoders add at both ends, too: 2 to 4 frames, which at 8 kHz are 0.3 s
BITRATES = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # (version, layer as the header writes them): kbit/s of index 1 to 14; MPEG 2.5 as 2, layer III of both as layer II
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class Frame(NamedTuple):
    """An MPEG audio frame: bytes, samples, rate, and where a Xing or Info tag would stand in it."""

    size: int
    samples: int
    rate: int
    tag: int


def look(file: BinaryIO, size: int, head: bytes) -> Found | None:
    """Return the first recording of a file of `size` bytes, or None where it is of another format."""
    if head[:4] == b"fLaC":
        return _flac(file, size)
    if head[:4] == b"OggS":
        return _ogg(file, size)
    if head[:3] == b"ID3":
        return _behind_id3(file, size, head)
    return _mp3(file, size, 0) if frame(head[:4]) else None


def _flac(file: BinaryIO, size: int) -> Found:
    """Every `fLaC` with a STREAMINFO of 34 bytes begins a recording: 64 bits that no frame holds by chance."""
    starts = [0, *places(file, (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"), 4, size)]
    lengths = [_streaminfo_s(at(file, start + 8, 18)) for start in starts]
    return Found(end=starts[1] if len(starts) > 1 else None, seconds=lengths[0], others=lengths[1:])


def _streaminfo_s(content: bytes) -> float | None:
    packed = int.from_bytes(content[10:18], "big")  # 20 bits rate, 8 of channels and width, 36 samples
    rate, samples = packed >> 44, packed & ((1 << 36) - 1)
    return samples / rate if rate and samples else None


def _ogg(file: BinaryIO, size: int) -> Found:
    """Pages: one that begins a stream, after pages that did not, begins another recording."""
    found, place, began = Found(), 0, True
    lengths: list[float | None] = [None]
    rate = serial = 0
    for _ in range(MOST_PAGES):
        header = at(file, place, 27 + 255 + 19)
        if len(header) < 27 or header[:4] != b"OggS":
            break
        segments = header[26]
        content = header[27 + segments :]
        begins = bool(header[5] & 2)
        if begins and not began:
            found.end = found.end or place
            lengths.append(None)
        if begins and (not began or not rate):
            rate, serial = _ogg_rate(content), int.from_bytes(header[14:18], "little")
        granule = int.from_bytes(header[6:14], "little", signed=True)
        if not begins and rate and granule > 0 and int.from_bytes(header[14:18], "little") == serial:
            lengths[-1] = granule / rate
        began = begins
        place += 27 + segments + sum(header[27 : 27 + segments])
    found.seconds, found.others = lengths[0], lengths[1:]
    return found


def _ogg_rate(content: bytes) -> int:
    if content[:8] == b"OpusHead":
        return 48000  # Opus counts in these whatever was recorded
    if content[:7] == b"\x01vorbis":
        return int.from_bytes(content[12:16], "little")
    return 0


def frame(header: bytes) -> Frame | None:
    """Return the MPEG audio frame that four bytes begin, or None where they begin none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 0 or not 1 <= index <= 14 or rate_index == 3 or header[3] & 3 == 2:
        return None
    family = 3 if version == 3 else 2
    rates = BITRATES[family, layer] if (family, layer) in BITRATES else BITRATES[family, 2]
    rate, bitrate = RATES[version][rate_index], 1000 * rates[index - 1]
    if layer == 3:  # layer I
        return Frame((12 * bitrate // rate + padding) * 4, 384, rate, 4)
    samples = 576 if layer == 1 and family == 2 else 1152
    is_mono = header[3] >> 6 == 3
    tag = 4 + ((17 if is_mono else 32) if family == 3 else (9 if is_mono else 17))
    return Frame(samples // 8 * bitrate // rate + padding, samples, rate, tag)


def _in_a_row(content: bytes, place: int, end_is_end: bool) -> bool:
    """Whether frames of one rate follow each other from a place on; at the file's end fewer are enough."""
    rate = None
    for count in range(FRAMES_IN_A_ROW):
        found = frame(content[place : place + 4])
        if found is None or rate not in (None, found.rate):
            return end_is_end and count > 1 and place >= len(content) - 4
        rate, place = found.rate, place + found.size
    return True


def _behind_id3(file: BinaryIO, size: int, head: bytes) -> Found | None:
    """An MP3 behind a tag; where the tag's size is wrong, from the first frames that follow each other."""
    counted = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if counted + 4 <= size:
        behind = at(file, counted, 4)
        if frame(behind) or behind in (b"fLaC", b"ADIF", b"RIFF", b"OggS") or behind[:3] == b"ID3":
            return _mp3(file, size, counted) if frame(behind) else None
    content = at(file, 10, LONGEST_SEARCH)
    place = content.find(b"\xff")
    while place >= 0 and not _in_a_row(content, place, 10 + len(content) >= size):
        place = content.find(b"\xff", place + 1)
    if place < 0:
        return None
    found = _mp3(file, size, 10 + place)
    if counted > size:
        found.notes.insert(
            0, f"its ID3 tag counts {counted:,} bytes, the file has {size:,}; read from byte {10 + place:,} on"
        )
    else:
        found.notes.insert(
            0, f"its ID3 tag counts {counted:,} bytes, but sound begins at byte {10 + place:,}; read from there"
        )
    found.start = 10 + place
    return found


def _mp3(file: BinaryIO, size: int, start: int) -> Found:
    """A recording whose first frame counts them (Xing, Info) ends where another such frame begins."""
    found = Found()
    if not _tag(file, start):
        return found
    starts = [start]
    for place in places(file, (b"Xing", b"Info"), start + 8, size):
        begin = next((place - tag for tag in (36, 21, 13) if _tag(file, place - tag) is not None), None)
        if begin is not None and begin > starts[-1]:
            starts.append(begin)
    lengths = [_tag(file, begin) for begin in starts]
    if len(starts) > 1:
        found.end = _without_id3(file, starts[1], start)
    found.seconds, found.slack_s = lengths[0], PADDING_S
    found.others = [length or None for length in lengths[1:]]
    return found


def _without_id3(file: BinaryIO, place: int, least: int) -> int:
    """Where the tag begins that stands in front of a frame, or the frame's own place."""
    before = at(file, max(least, place - 4096), min(4096, place - least))
    index = before.rfind(b"ID3")
    return place - len(before) + index if index >= 0 else place


def _tag(file: BinaryIO, place: int) -> float | None:
    """The seconds that a frame's Xing or Info tag counts, 0 where it does not say; None: there is no such tag."""
    if place < 0:
        return None
    content = at(file, place, 64)
    found = frame(content[:4])
    if found is None or content[found.tag : found.tag + 4] not in (b"Xing", b"Info"):
        return None
    flags, count = content[found.tag + 7], int.from_bytes(content[found.tag + 8 : found.tag + 12], "big")
    return count * found.samples / found.rate if flags & 1 else 0.0
