"""Two text files of `ID text` lines -> a CerReport, without a model.

Must not import mlx, torch or funasr. Both files are read once, side by side: where they are in the same order, memory
does not grow with them, but for 8 bytes a line to find ids that stand twice; in another order, hypotheses wait.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, id_lines
from parity.cer.normalize import DEFAULT, find_normalizer
from parity.cer.run_folder import JOURNAL, REPORT, claim
from parity.cer.summary import Heard, Summary, written
from parity.cer.units import find_unit
from reports import schema
from reports.schema import CerReport

StrPath = str | os.PathLike[str]


def score_files(
    ref: StrPath,
    hyp: StrPath,
    *,
    normalize: str = DEFAULT,
    unit: str | None = None,
    out: StrPath | None = None,
    overwrite: bool = False,
) -> CerReport:
    """Return the error rate of one file of `ID text` lines against another; with `out`, write what `evaluate` writes.

    A line with an id only is an empty text; an id without a line in `hyp` is missing, and both count as deletions.

    Raises:
        UsageError: unknown normaliser or unit.
        DatasetError: a file is empty, is not UTF-8, repeats an id, or shares no id with the other one.
        OutputError: see `run_folder.claim`.
    """
    summary = Summary(find_normalizer(normalize), unit and find_unit(unit).name)
    pairs = _Pairs(Path(ref), Path(hyp))
    rows = ((heard, summary.add(heard)) for heard in pairs)
    if out is None:
        for _ in rows:
            pass
        return _report(summary, pairs)
    folder = Path(out)
    with claim(folder, overwrite, [ref, hyp]):
        with written(folder, rows):
            report = _report(summary, pairs)
        schema.write(report, folder / REPORT)
        (folder / JOURNAL).unlink(missing_ok=True)  # of another run, whose report this one has replaced
    return report


def _report(summary: Summary, pairs: _Pairs) -> CerReport:
    pairs.check()
    return summary.report(dataset=str(pairs.ref.path), engine="files", model=str(pairs.hyp.path), notes=pairs.notes())


class _Side:
    """One file's lines, and the ids seen in it as 8-byte hashes."""

    def __init__(self, path: Path):
        self.path, self.first = path, ""
        self.hashes = array("q")

    def lines(self) -> Iterator[IdLine]:
        for line in id_lines(self.path):
            self.first = self.first or line.utt_id
            self.hashes.append(hash(line.utt_id))
            yield line

    def check(self) -> None:
        """Raise DatasetError where the file is empty or an id stands twice."""
        if not self.hashes:
            raise DatasetError(f"{self.path}: holds no line; expected `ID text` lines")
        values, counts = np.unique(np.array(self.hashes), return_counts=True)
        suspects = set(values[counts > 1].tolist())
        seen: dict[str, int] = {}
        for line in id_lines(self.path) if suspects else ():
            if hash(line.utt_id) in suspects and seen.setdefault(line.utt_id, line.number) != line.number:
                raise DatasetError(
                    f"{line.where}: id {line.utt_id!r} stands in line {seen[line.utt_id]} already; expected it once"
                )


class _Pairs:
    """Every reference with its hypothesis, in the order of the references."""

    def __init__(self, ref: Path, hyp: Path):
        self.ref, self.hyp = _Side(ref), _Side(hyp)
        self.shared = 0
        self.waiting: dict[str, str] = {}  # hypotheses met before their reference

    def __iter__(self) -> Iterator[Heard]:
        coming = self.hyp.lines()
        for line in self.ref.lines():
            text = self.waiting.pop(line.utt_id, None)
            while text is None and (found := next(coming, None)) is not None:
                if found.utt_id == line.utt_id:
                    text = found.rest
                else:
                    self.waiting[found.utt_id] = found.rest
            self.shared += text is not None
            yield Heard(utt_id=line.utt_id, reference=line.rest, text=text)
        self.waiting |= {line.utt_id: line.rest for line in coming}

    def check(self) -> None:
        """Raise DatasetError where the files cannot be scored against each other."""
        self.ref.check()
        self.hyp.check()
        if not self.shared:
            raise DatasetError(
                f"{self.ref.path} and {self.hyp.path} share no id (first ids: {self.ref.first!r} and "
                f"{self.hyp.first!r}); expected the same utterances in both, as `ID text` lines"
            )

    def notes(self) -> list[str]:
        if not self.waiting:
            return []
        first = next(iter(self.waiting))
        return [f"{len(self.waiting)} hypotheses have no reference and are not scored (first: {first})"]
