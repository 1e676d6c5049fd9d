"""One or two alignments over the same reference -> columns to show: reference above, every hypothesis below it.

A report stores agreeing stretches as one pair; here they are cut where a line may break (between ideographs, after a
space, between words), and for two hypotheses also where either of them errs. Imports formatting only; counts nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports import formatting as fmt

SHOWN = 1500  # columns; a text of a million characters would make a page that no browser opens
RUN = 16  # letters of an agreeing stretch without a space that stay together: a phone must be able to break it

Pairs = Sequence[fmt.Pair]


class Part(NamedTuple):
    """What a hypothesis has in a column (None: nothing there), and the letter of its error ("" for a hit)."""

    text: str | None
    op: str


class Column(NamedTuple):
    """A piece of the reference (None beside an insertion) and what each hypothesis has for it."""

    reference: str | None
    parts: tuple[Part, ...]


class Block(NamedTuple):
    """Lines that stand above one another: their labels, which hypotheses err, columns, and how many are not shown."""

    labels: tuple[str, ...]
    errs: tuple[bool, ...]
    columns: list[Column]
    hidden: int


class _Side(NamedTuple):
    """One alignment by place in the reference: errors (start -> end, part), insertions, starts of pairs, the text."""

    errors: dict[int, tuple[int, Part]]
    insertions: dict[int, list[Part]]
    starts: set[int]
    text: str


def blocks(unit: str, labels: Sequence[str], *alignments: Pairs) -> list[Block]:
    """Return one block for all alignments, or, where they do not cut one reference alike, one for each.

    Args:
        unit: "char", or a unit that white space separates and that no alignment counts the white space of.
        labels: of the reference and of each hypothesis.
        alignments: [reference, hypothesis] pairs, agreeing stretches joined or not.

    Raises:
        ValueError: an alignment is not made of pairs.
    """
    sides = [_lay(pairs, spaced=unit != "char") for pairs in alignments]
    merged = _merge(sides)
    if merged is not None:
        return [_block(labels, merged)]
    return [_block((labels[0], own), _merge([side]) or []) for own, side in zip(labels[1:], sides, strict=True)]


def _block(labels: Sequence[str], columns: list[Column]) -> Block:
    errs = tuple(any(column.parts[place].op for column in columns) for place in range(len(labels) - 1))
    return Block(tuple(labels), errs, columns[:SHOWN], max(len(columns) - SHOWN, 0))


def _lay(pairs: Pairs, *, spaced: bool) -> _Side:
    errors, insertions, starts = dict[int, tuple[int, Part]](), defaultdict[int, list[Part]](list), set[int]()
    text, place = list[str](), 0
    for pair in pairs:
        op, (reference, hypothesis) = fmt.operation(pair), pair
        words = [] if reference is None else reference.split() if spaced else [reference]
        begin = place
        for word in words:
            if not op:
                starts.add(place)
            text.append(word)
            place += len(word)
        if place > begin and op:
            errors[begin] = (place, Part(hypothesis, op))
        elif op:
            insertions[place].append(Part(hypothesis, op))
    return _Side(errors, insertions, starts, "".join(text))


def _merge(sides: Sequence[_Side]) -> list[Column] | None:
    """Return the columns, or None where the sides do not share a reference that they cut into the same units."""
    text = sides[0].text
    inside = {place for side in sides for start, (end, _) in side.errors.items() for place in range(start + 1, end)}
    edges = {place for side in sides for place in (*side.insertions, *side.errors)}
    edges |= {end for side in sides for end, _ in side.errors.values()}
    if edges & inside or any(side.text != text for side in sides):
        return None
    columns = []
    for start, end in _pieces(text, edges | set().union(*(side.starts for side in sides)), inside):
        columns += _inserted(sides, start)
        if end > start:
            piece = text[start:end]
            hit = Part(piece, "")
            columns.append(Column(piece, tuple(side.errors.get(start, (end, hit))[1] for side in sides)))
    return columns


def _pieces(text: str, cuts: set[int], inside: set[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each piece of the reference, and an empty one at its end for what is inserted there."""
    start = 0
    for place in range(1, len(text)):
        long = place - start >= RUN and not fmt.combining(text[place])
        if place not in inside and (place in cuts or long or _apart(text[place - 1], text[place])):
            yield start, place
            start = place
    yield start, len(text)
    if text:
        yield len(text), len(text)


def _apart(left: str, right: str) -> bool:
    """Whether a line may break between two agreeing characters."""
    if fmt.combining(right):
        return False
    return fmt.wide(left) or fmt.wide(right) or (left.isspace() and not right.isspace())


def _inserted(sides: Sequence[_Side], place: int) -> list[Column]:
    """Return what the sides insert before a place, side by side."""
    rows = [side.insertions.get(place, []) for side in sides]
    return [
        Column(None, tuple(row[turn] if turn < len(row) else Part(None, "") for row in rows))
        for turn in range(max(map(len, rows)))
    ]
