"""What a file is that is not what was meant: told by its content, so that a message can say what to do. Stdlib only.

`signature` is for whoever looks at a file (weights, configurations); `identify` and `media` are for recordings.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from mlx_model.files.found import at, is_zero

HEAD = 4096
NAME_ANOTHER = "name a recording"
# (bytes at the start, what that is, what to do; None: nothing, it is the wrong file)
SIGNATURES: tuple[tuple[bytes, str, str | None], ...] = (
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"PK\x05\x06", "an empty ZIP archive", None),
    (b"\x1f\x8b", "a gzip archive", "unpack it first (gunzip, or tar xzf)"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"%PDF-", "a PDF document", None),
    (b"\x89PNG\r\n", "a PNG picture", None),
    (b"\xff\xd8\xff", "a JPEG picture", None),
    (b"GIF8", "a GIF picture", None),
    (b"II*\x00", "a TIFF picture", None),
    (b"MM\x00*", "a TIFF picture", None),
    (b"MThd", "a MIDI file", "it holds notes and no sound: render it first"),
    (b"\x93NUMPY", "a NumPy array (npy)", "write its samples to a WAV file first"),
    (b"\x89HDF\r\n", "an HDF5 file", "write its samples to a WAV file first"),
    (b"SQLite format 3\x00", "an SQLite database", None),
    (b"\x7fELF", "a program", None),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", None),
    (b"\x00\x05\x16\x07", "macOS's side file of another one (._NAME)", "name the file without ._ in front"),
    (b"PAR1", "a Parquet table", "unpack its recordings first"),
)
_LATER: tuple[tuple[int, bytes, str, str], ...] = (
    (257, b"ustar", "a tar archive", "unpack it first"),
    (8, b"WEBP", "a WebP picture", "name a recording"),
    (4, b"ftypheic", "a HEIC picture", "name a recording"),
    (4, b"ftypavif", "an AVIF picture", "name a recording"),
)
# What FFmpeg reads and libsndfile does not: (place, bytes, name)
_MEDIA: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "M4A or MP4"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"ADIF", "AAC"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"FLV", "Flash video"),
    (8, b"AVI ", "AVI"),
    (28, b"Speex", "Speex"),
    (28, b"\x7fFLAC", "Ogg FLAC"),
)
_LFS = b"version https://git-lfs.github.com/spec/"
_ARK = re.compile(rb"[^\s\x00]{1,255} (\x00B|RIFF....WAVE)", re.DOTALL)
_SCP = re.compile(r"\S+[ \t]+\S.*\.(wav|flac|mp3|ogg|ark:\d+|sph|m4a)\b|\S+[ \t].*\|\s*$", re.IGNORECASE)


def signature(head: bytes) -> tuple[str, str | None] | None:
    """Return what a file is that begins so, and what to do with it; None where nothing tells."""
    return next(((what, advice) for magic, what, advice in SIGNATURES if head.startswith(magic)), None)


def identify(file: BinaryIO, size: int) -> str | None:
    """Return "is WHAT, not audio; DO THIS", or None where the content tells nothing.

    Only what cannot be a recording is named: ask when a decoder has refused the file.
    """
    head = at(file, 0, HEAD)
    if head[:1] == b"\0" and is_zero(file, 0, size):
        return f"is {size:,} zero bytes: a download or a copy that has not happened; fetch it again"
    what = _binary(head, size) or _text(head)
    return what and f"is {what}"


def media(file: BinaryIO) -> str | None:
    """Return the format's name where it is a known one that only FFmpeg reads."""
    head = at(file, 0, 64)
    return next((name for place, magic, name in _MEDIA if head[place : place + len(magic)] == magic), None)


def _said(what: str, advice: str) -> str:
    return f"{what}, not audio; {advice}"


def _binary(head: bytes, size: int) -> str | None:
    if head.startswith(b"PK\x03\x04") and re.search(rb"data\.pkl|\.data/|/version", head):
        return _said("a torch checkpoint", "a recording is meant here, a model is converted first (mlx-funasr convert)")
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return _said("a pickle (an old torch checkpoint?)", "name a recording")
    length = int.from_bytes(head[:8], "little")
    if head[8:10] in (b'{"', b"{}") and 2 <= length < size:
        return _said("a safetensors file", "a recording is meant here; a model stands in MODEL's place")
    for place, magic, what, advice in _LATER:
        if head[place : place + len(magic)] == magic:
            return _said(what, advice)
    if _ARK.match(head):
        return _said("a Kaldi archive (ark)", "unpack it first (wav-copy), or give `cer` the data directory")
    found = signature(head)
    return None if found is None else _said(found[0], found[1] or NAME_ANOTHER)


def _text(head: bytes) -> str | None:
    """What a text is; None where it is none."""
    if head.startswith(_LFS):
        return "a Git LFS pointer, not the file itself; fetch that with `git lfs pull`"
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return _said("a web page", "a download that was answered with an error or a login: fetch it again")
    if start.startswith("<"):
        return _said("an XML document", "a download that was answered with an error? fetch it again")
    if start.startswith(("{", "[{", '["')):
        return _said("a JSON document", "a download that was answered with an error? fetch it again")
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    if start.startswith(("#extm3u", "[playlist]", "ffconcat")):
        return _said("a playlist", "name the recordings that it lists")
    if lines and all(_SCP.match(line) for line in lines[:3]):
        return _said("a list of recordings", "name them; `cer` reads lists")
    return _said("text", "name a recording")


def _decoded(head: bytes) -> str | None:
    """The text that bytes are the beginning of, or None."""
    for encoding in ("utf-16",) if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "gb18030"):
        for cut in range(4):
            try:
                text = head[: len(head) - cut].decode(encoding)
            except UnicodeDecodeError:
                if len(head) < HEAD:
                    break  # the whole file: nothing was cut within a character
                continue
            printable = sum(character.isprintable() or character in "\t\r\n\f" for character in text)
            if text and printable == len(text) and (encoding != "gb18030" or _mostly_common(text)):
                return text
            break
    return None


def _mostly_common(text: str) -> bool:
    """Noise decodes as rare Chinese characters, too; a text has common ones, ASCII and punctuation."""
    return sum("\u4e00" <= character <= "\u9fff" or character < "\x7f" for character in text) > 0.9 * len(text)
