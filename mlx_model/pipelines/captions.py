"""How a stream's text is shown as it comes: on a terminal, in a pipe, as JSON, one document a line.

Partial texts of one utterance, one behind the other, are its text so far; an utterance is a segment that a VAD finds,
or all of a recording. Streaming text is never taken back, so that of one pass is written on as it comes; with a VAD
the line is the segment's, and on a terminal it is rewritten until the segment has ended.
"""

from __future__ import annotations

import io
import json
import unicodedata
from array import array
from collections.abc import Callable
from typing import Any

from mlx_model.pipelines.streams import Partial
from mlx_model.text.formats import name, segment_row
from mlx_model.text.results import Segment

Write = Callable[[str], None]
REWRITE = "\r\x1b[K"  # to the line's start, and clear it
SCHEMA = "stream/1"


class Captions:
    """Text, written on as it comes, and not kept; a line break where the recording ends. The base of the others."""

    def __init__(self, write: Write):
        self.write = write
        self.begun = False  # a line that has not ended

    def partial(self, partial: Partial) -> None:
        """Show new text."""
        self.begun = True
        if partial.text:
            self.write(_one_line(partial.text))

    def segment(self, segment: Segment) -> None:
        """Show the text of a segment that has ended."""
        self.begun = False

    def end(self, duration_s: float, error: str | None, notes: list[str]) -> None:
        """Show the end of a recording or a pipe, whatever ended it; text that is not yet final is now."""
        if self.begun or error is None:
            self.write("\n")
        self.begun = False


class Lines(Captions):
    """A line for each segment, once it has ended: for pipes."""

    def __init__(self, write: Write):
        super().__init__(write)
        self.said = io.StringIO()  # of the utterance that has not ended; without a VAD there is one, of hours

    @property
    def text(self) -> str:
        """What the utterance that has not ended says so far."""
        return self.said.getvalue()

    def partial(self, partial: Partial) -> None:
        """Keep new text, for a stream that ends within a segment."""
        self.said.write(partial.text)

    def segment(self, segment: Segment) -> None:
        """Write a segment's line; one without text has none."""
        self.said = io.StringIO()
        if segment.text:
            self.write(f"{_one_line(segment.text)}\n")

    def end(self, duration_s: float, error: str | None, notes: list[str]) -> None:
        """Write what is known of a segment that was cut off."""
        if self.text:
            self.write(f"{_one_line(self.text)}\n")
        self.said = io.StringIO()


class Rewriting(Lines):
    """The same on a terminal: the last line shows the end of what is said so far, as much as fits."""

    def __init__(self, write: Write, columns: int):
        super().__init__(write)
        self.columns = columns

    def partial(self, partial: Partial) -> None:
        """Rewrite the line."""
        super().partial(partial)
        if partial.text:
            self.write(REWRITE + fitting(_one_line(self.text), self.columns - 1))

    def segment(self, segment: Segment) -> None:
        """Replace the line."""
        self.write(REWRITE)
        super().segment(segment)

    def end(self, duration_s: float, error: str | None, notes: list[str]) -> None:
        """Replace the line of a segment that was cut off."""
        self.write(REWRITE)
        super().end(duration_s, error, notes)


class Documents(Lines):
    """One JSON document a line: `kind` is partial (new text), final (a segment's, or a recording's), then end."""

    def __init__(self, write: Write, path: str | None, **about: Any):
        super().__init__(write)
        self.path, self.about = path, about
        self.token_ids = array("i")  # of the utterance that has not ended; a list would hold eight times as much

    def partial(self, partial: Partial) -> None:
        """Write new text: `text` and `token_ids` are what this step adds; the times are what it decided on."""
        super().partial(partial)
        self.begun = True
        self.token_ids.extend(partial.token_ids)
        fields = ("text", "token_ids", "token_starts_ms", "start_ms", "end_ms", "heard_ms")
        if partial.text or partial.token_ids:
            self._put("partial", **{field: getattr(partial, field) for field in fields})

    def segment(self, segment: Segment) -> None:
        """Write a segment."""
        self._put("final", **segment_row(segment))
        self._forget()

    def end(self, duration_s: float, error: str | None, notes: list[str]) -> None:
        """Write what is not final yet as final, with no times; and the end."""
        if self.begun:
            ids = self.token_ids.tolist()
            self._put("final", start_ms=None, end_ms=None, text=self.text, token_ids=ids, error=error)
        self._put("end", duration_s=duration_s, error=error, notes=notes, **self.about)
        self._forget()

    def _forget(self) -> None:
        self.said, self.token_ids, self.begun = io.StringIO(), array("i"), False

    def _put(self, kind: str, **fields: Any) -> None:
        document = {"schema": SCHEMA, "kind": kind, "path": name(self.path), **fields}
        self.write(json.dumps(document, ensure_ascii=False) + "\n")


def fitting(text: str, columns: int) -> str:
    """Return the end of a text that fits into so many columns of a terminal, where East Asian characters take two."""
    used, start = 0, len(text)
    while start > 0:
        wide = unicodedata.east_asian_width(text[start - 1]) in "WF"
        used += 0 if unicodedata.combining(text[start - 1]) else 1 + wide
        if used > columns:
            break
        start -= 1
    while start < len(text) and unicodedata.combining(text[start]):  # of a letter that did not fit
        start += 1
    return text[start:]


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))
