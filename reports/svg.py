"""The elements of the pictures: lines, boxes, texts, images as SVG strings; every text escaped, every number short.

Stdlib and formatting.py only. Colours come from the page's style sheet through class names.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape

from reports import formatting as fmt

WIDTH = 960
SMALL = 400  # of a picture that stands beside another one and fits a phone
Colour = tuple[int, int, int]


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def polyline(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Return a line through points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{places}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, title: str) -> str:
    """Return a box that says its title when pointed at."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {box}><title>{escape(fmt.visible(title))}</title></rect>'


def circle(x: float, y: float, radius: float, kind: str, title: str) -> str:
    """Return a dot that says its title when pointed at."""
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"'
    return f'<circle class="{kind}" {place}><title>{escape(fmt.visible(title))}</title></circle>'


def text(x: float, y: float, words: str, kind: str, *, anchor: str = "middle") -> str:
    """Return a text, by default centred on x."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(fmt.visible(words))}</text>'


def image(
    x: float, y: float, width: float, height: float, rows: Sequence[Sequence[int]], colours: Sequence[Colour]
) -> str:
    """Return an image of palette indices (rows from top to bottom), stretched over a box, pixels kept sharp."""
    data = base64.b64encode(png(rows, colours)).decode()
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<image {box} preserveAspectRatio="none" class="pixels" href="data:image/png;base64,{data}"/>'


class Drawing(str):
    """A whole picture: the one kind of string that a template does not escape, as all its texts are escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> Drawing:
    """Return a whole picture with a title for those who cannot see it."""
    label = escape(fmt.visible(title), quote=True)
    box = f'viewBox="0 0 {width:g} {height:.0f}" role="img" aria-label="{label}"'
    return Drawing(f"<svg {box}>{''.join(parts)}</svg>")


def png(rows: Sequence[Sequence[int]], colours: Sequence[Colour]) -> bytes:
    """Return a PNG of palette indices (at most 256 colours); not worth a picture library."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)  # 8 bits, palette
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 9)
    palette = b"".join(bytes(colour) for colour in colours)
    parts = [chunk(b"IHDR", header), chunk(b"PLTE", palette), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ramp(anchors: Sequence[Colour], size: int = 64) -> list[Colour]:
    """Return `size` colours, evenly spaced along straight lines between the anchors."""
    colours = []
    for index in range(size):
        place = index / (size - 1) * (len(anchors) - 1)
        low = min(int(place), len(anchors) - 2)
        share = place - low
        colours.append(tuple(round(a + share * (b - a)) for a, b in zip(anchors[low], anchors[low + 1], strict=True)))
    return colours  # pyright: ignore[reportReturnType]  three numbers each, as the anchors have
