"""Files of references or hypotheses, in whichever format a recogniser or a scorer wrote them -> (id, text) lines.

The format is told by what stands in the file, never by its name, and a file that is none of them is refused: a list of
paths, subtitles or lines without ids would be scored too, and give a rate that means nothing. Stdlib only.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_model.errors import DatasetError, UsageError
from parity.cer.lists import IdLine, shown
from parity.cer.texts import lines, records, strangers, timed
from parity.cer.texts.head import Head, Role, file_of

__all__ = ["FORMATS", "Format", "Role", "Texts", "open_texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write texts: `fits(head)` tells it by a file's first lines, `read` yields its lines in file order.

    `role` is what the file is for, "reference" or "hypothesis": a table may hold both.
    """

    name: str
    title: str
    fits: Callable[[Head], bool]
    read: Callable[[Path, Role], Iterator[IdLine]]


# In the order in which they are tried; `plain` fits nothing, it must be asked for.
FORMATS: tuple[Format, ...] = (
    Format(name="json", title="JSON", fits=records.is_json, read=records.read_json),
    Format(name="stm", title="NIST's stm", fits=timed.is_stm, read=timed.read_stm),
    Format(name="ctm", title="NIST's ctm", fits=timed.is_ctm, read=timed.read_ctm),
    Format(name="trn", title="NIST's trn, `text (id)`", fits=lines.is_trn, read=lines.read_trn),
    Format(name="tsv", title="a table with tabs", fits=records.is_tsv, read=records.read_tsv),
    Format(name="csv", title="a table (CSV)", fits=records.is_csv, read=records.read_csv),
    Format(name="plain", title="a text a line, paired by line", fits=lambda _: False, read=lines.read_plain),
    Format(name="kaldi", title="`ID text` lines", fits=lambda _: True, read=lines.read_kaldi),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A file of texts whose format is known. `path` is the file, also where a folder was named."""

    path: Path
    format: Format
    role: Role

    def lines(self) -> Iterator[IdLine]:
        """Yield the lines, those without a text of their own too.

        Raises:
            DatasetError: a line is not of the file's format.
        """
        return self.format.read(self.path, self.role)

    @property
    def note(self) -> str | None:
        """How the file was read, where that was not as `ID text` lines."""
        return None if self.format.name == "kaldi" else f"{shown(self.path.name)}: read as {self.format.title}"


def open_texts(path: Path, role: Role, name: str | None = None) -> Texts:
    """Return the texts of a file, or of the file of them that a folder is known to hold.

    Args:
        path: a file; or a Kaldi data directory, a FunASR output directory, the folder of a finished run.
        role: what it is for.
        name: a name in FORMATS, to be read as nothing else.

    Raises:
        UsageError: no format is called `name`.
        DatasetError: the file cannot be read, holds no line, or is no file of texts.
    """
    chosen = None if name is None else _named(name)
    file = file_of(path, role)
    head = Head.of(file)
    if not head.lines:
        raise DatasetError(f"{shown(file)}: holds no line; expected `ID text` lines")
    if chosen is None:
        strangers.refuse(head)
        chosen = next(item for item in FORMATS if item.fits(head))
        if chosen.name == "kaldi":
            strangers.refuse_lists(head)
    return Texts(path=file, format=chosen, role=role)


def _named(name: str) -> Format:
    names = [item.name for item in FORMATS]
    if name in names:
        return FORMATS[names.index(name)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no format of texts is called {name!r}{hint} (there are: {', '.join(names)})")
