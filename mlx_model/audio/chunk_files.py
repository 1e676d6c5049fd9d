"""Files made of chunks that say how long they are: WAV (RIFF, RIFX, RF64), AIFF, W64, CAF, MP4, and AU.

`look` reads the headers only, and says what does not fit. Stdlib only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from mlx_model.files.found import Found, at, is_zero, places

MOST_CHUNKS = 4096  # a file that claims more is not read to its end
UNKNOWN = 0x7FFF_F000  # sizes from here on that do not fit are placeholders of a recorder that wrote to a pipe
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
WAVE_MARKS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
PCM_CODES, ADPCM_CODES = (1, 3, 0xFFFE), (2, 0x11)


class Kind(NamedTuple):
    """How a format writes its chunks: where they begin, the size's layout, what it counts, how chunks are aligned."""

    first: int
    name: int  # bytes of a chunk's name
    size: struct.Struct
    counts_header: bool
    align: int
    format: bytes
    data: bytes


class Recording(NamedTuple):
    """One recording: where its samples lie, what the header says of their size, and how many bytes are a second."""

    data: int
    size: int
    size_at: int
    rate: float  # bytes per second, 0 where that is not known
    open_end: bool  # the format's own way to say "until the end"


RIFF = Kind(12, 4, struct.Struct("<I"), False, 2, b"fmt ", b"data")
RIFX = RIFF._replace(size=struct.Struct(">I"))
AIFF = Kind(12, 4, struct.Struct(">I"), False, 2, b"COMM", b"SSND")
W64 = Kind(40, 16, struct.Struct("<Q"), True, 8, b"fmt ", b"data")
CAF = Kind(8, 4, struct.Struct(">q"), False, 1, b"desc", b"data")


def kind_of(head: bytes) -> Kind | None:
    """Return how the chunks of a file are written that begins so."""
    if head[:4] in WAVE_MARKS and head[8:12] == b"WAVE":
        return RIFX if head[:4] == b"RIFX" else RIFF
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if head[:16] == W64_RIFF:
        return W64
    return CAF if head[:4] == b"caff" and head[4:6] == b"\0\1" else None


def look(file: BinaryIO, size: int, head: bytes) -> Found | None:
    """Return the first recording of a file of `size` bytes, or None where it is of another format."""
    if head[:4] == b".snd":
        return _judged(file, size, 0, _au(head), None)
    if head[4:8] == b"ftyp":
        return _mp4(file, size)
    kind = kind_of(head)
    recording = _recording(file, 0, size, kind) if kind else None
    return _judged(file, size, 0, recording, kind) if recording else None


def _chunks(file: BinaryIO, place: int, end: int, kind: Kind) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its content begins, its size) of every chunk from a place on, as far as they make sense."""
    width = kind.name + kind.size.size
    for _ in range(MOST_CHUNKS):
        header = at(file, place, width)
        if len(header) < width or place >= end:
            return
        (size,) = kind.size.unpack(header[kind.name :])
        size -= width if kind.counts_header else 0
        yield header[:4], place + width, size
        if size < 0:
            return
        place += width + size + -(size + (width if kind.counts_header else 0)) % kind.align


def _recording(file: BinaryIO, base: int, end: int, kind: Kind) -> Recording | None:
    """The recording whose header begins at `base`."""
    rate, large = 0.0, None
    for name, place, size in _chunks(file, base + kind.first, end, kind):
        if name == b"ds64":
            large = struct.unpack("<Q", at(file, place + 8, 8))[0]
        if name == kind.format:
            rate = _bytes_per_second(at(file, place, 40), kind)
        if name == kind.data:
            if large is not None and size == 0xFFFFFFFF:
                size = large
            skipped = {AIFF: 8, CAF: 4}.get(kind, 0)  # offset and block size; edit count
            is_open = kind is CAF and size == -1
            return Recording(place + skipped, max(size - skipped, 0), place - kind.size.size, rate, is_open)
    return None


def _bytes_per_second(content: bytes, kind: Kind) -> float:
    if kind is AIFF:
        channels, frames, bits, exponent, mantissa = struct.unpack(">hIhHQ", content[:18])
        return channels * ((bits + 7) // 8) * mantissa * 2.0 ** (min(exponent, 16447) - 16446)
    if kind is CAF:
        rate, _, _, packet, frames = struct.unpack(">d4sIII", content[:24])
        return rate * packet / frames if frames else 0.0
    order = ">" if kind is RIFX else "<"
    code, _, rate, speed, width = struct.unpack(order + "HHIIH", content[:14])
    if code in ADPCM_CODES and len(content) >= 20:  # writers are often wrong about its speed
        (samples,) = struct.unpack(order + "H", content[18:20])
        return rate * width / samples if samples else speed
    return rate * width if code in PCM_CODES else speed


def _au(head: bytes) -> Recording | None:
    data, size, code, rate, channels = struct.unpack(">IIIII", head[4:24])
    width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(code, 0)
    return Recording(data, size, 8, rate * channels * width, size == 0xFFFFFFFF)


def _judged(file: BinaryIO, size: int, base: int, recording: Recording | None, kind: Kind | None) -> Found:
    """Hold what the header says against what is there."""
    found = Found()
    if recording is None or recording.data > size:
        return found
    rest = size - recording.data
    empty = recording.size == 0 and rest > 0 and not _is_chunks(file, recording.data, size, kind)
    if recording.open_end or empty or (recording.size > rest and recording.size >= UNKNOWN):
        _until_the_end(file, size, recording, kind, found, empty)
    elif recording.size > rest:
        found.notes.append(
            f"cut short: its header counts {_length(recording.size, recording)}, the file holds "
            f"{_length(rest, recording)}"
        )
    else:
        _behind(file, size, recording, kind, found)
    if not found.notes and not found.others and kind is not None and kind in (RIFF, RIFX):
        found.notes += _outer_size(file, size, recording.data + recording.size, kind)
    return found


def _length(count: int, recording: Recording) -> str:
    return f"{count / recording.rate:.2f} s" if recording.rate > 0 else f"{count:,} bytes of sound"


def _until_the_end(
    file: BinaryIO, size: int, recording: Recording, kind: Kind | None, found: Found, empty: bool
) -> None:
    """A header that leaves the size open: all there is is sound. Where it says 0, libsndfile needs another header."""
    rest = size - recording.data
    if not recording.open_end:
        found.notes.append(
            f"its header does not say how long it is (data size {recording.size}); read to the file's end, "
            f"{_length(rest, recording)}"
        )
    if empty and kind is not None and kind in (RIFF, RIFX):
        head = bytearray(at(file, 0, recording.data))
        kind.size.pack_into(head, recording.size_at, min(rest, 0xFFFF_FFF0))
        found.head = bytes(head)
    headers = [place for place in places(file, WAVE_MARKS, recording.data, size) if kind_of(at(file, place, 16))]
    if headers and kind in (RIFF, RIFX):
        found.notes.append(
            f"more headers lie within what its first one calls sound ({len(headers)}); all is heard as one recording, "
            "with a click at each: split the file"
        )


def _behind(file: BinaryIO, size: int, recording: Recording, kind: Kind | None, found: Found) -> None:
    """What comes behind the samples: chunks, further recordings, or bytes that no header counts."""
    place = recording.data + recording.size
    if kind is not None and kind.align > 1 and not _begins(file, place):
        place += -recording.size % kind.align
    if _begins(file, place):
        found.end = place
        found.seconds = recording.size / recording.rate if recording.rate > 0 else None
        found.others = _others(file, place, size)
        return
    for _, start, length in _chunks(file, place, size, kind) if kind else ():
        place = start + length + -length % kind.align if kind else place
        if _begins(file, place):
            found.end, found.others = place, _others(file, place, size)
            return
    start = recording.data + recording.size
    if size - start > 8 and not _is_chunks(file, start, size, kind) and not is_zero(file, start, size):
        counted, more = _length(recording.size, recording), _length(size - start, recording)
        found.notes.append(
            f"goes on for {size - start:,} bytes behind the {counted} that its header counts; they ({more} if they are "
            "sound) are not heard"
        )


def _begins(file: BinaryIO, place: int) -> bool:
    """Whether another recording begins there."""
    head = at(file, place, 16)
    return kind_of(head) is not None or head[:4] == b".snd"


def _others(file: BinaryIO, place: int, size: int) -> list[float | None]:
    """The lengths of the recordings from a place on."""
    lengths: list[float | None] = []
    while len(lengths) < MOST_CHUNKS and _begins(file, place):
        head = at(file, place, 40)
        kind = kind_of(head)
        recording = _recording(file, place, size, kind) if kind else _au(head)
        if recording is None:
            lengths.append(None)
            break
        if kind is None:
            recording = recording._replace(data=place + recording.data)
        is_last = recording.open_end or recording.size >= UNKNOWN or recording.size == 0
        count = size - recording.data if is_last else min(recording.size, size - recording.data)
        lengths.append(count / recording.rate if recording.rate > 0 else None)
        place = recording.data + count
        if kind is not None and not _begins(file, place):
            place += -count % kind.align
    return lengths


def _is_chunks(file: BinaryIO, start: int, size: int, kind: Kind | None) -> bool:
    """Whether chunks with printable names fill what is left of the file, give or take the padding."""
    if kind is None:
        return False
    for place in {start, start + -start % kind.align}:
        end = place
        for name, begin, length in _chunks(file, place, size, kind):
            if not name.isascii() or not name.decode("ascii").isprintable() or length < 0:
                break
            end = begin + length
        if end > place and abs(size - end) <= 1:
            return True
    tag = at(file, start, 8)
    return (tag[:3] == b"TAG" and size - start == 128) or tag == b"APETAGEX" or tag[:3] == b"ID3"


def _outer_size(file: BinaryIO, size: int, end: int, kind: Kind) -> list[str]:
    """What to say of a RIFF header that ends before the samples do, or after the file."""
    head = at(file, 0, 8)
    (counted,) = kind.size.unpack(head[4:])
    if end - 1 <= counted + 8 <= size + 1 or head[:4] in (b"RF64", b"BW64"):
        return []
    return [f"its RIFF header counts {counted + 8:,} bytes, the file has {size:,}; read as its data chunk says"]


def _mp4(file: BinaryIO, size: int) -> Found:
    """Boxes: a second `ftyp` after a `moov` begins another recording."""
    found, place, complete = Found(), 0, False
    for _ in range(MOST_CHUNKS):
        header = at(file, place, 16)
        if len(header) < 8:
            break
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if header[4:8] == b"ftyp" and complete:
            found.end = found.end or place
            found.others.append(None)
            complete = False
        complete = complete or header[4:8] == b"moov"
        if length < 8:
            break
        place += length
    if not found.others and not complete:
        found.notes.append("its index (moov) is missing, which recorders write last: it was cut off")
    elif place > size:
        found.notes.append(f"cut short: its boxes count {place:,} bytes, the file has {size:,}")
    return found
