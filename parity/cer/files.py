"""Two files of texts -> a CerReport, without a model.

Must not import mlx, torch or funasr. Both files are read twice: first their ids alone (8 bytes a line), so that what
cannot be scored is refused before anything is written; then side by side, where memory does not grow with them as long
as they are in the same order. In another order, hypotheses wait.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mlx_model.errors import DatasetError
from parity.cer.hotwords import Given, listed
from parity.cer.lists import IdLine, quoted, shown
from parity.cer.normalize import DEFAULT, find_normalizer
from parity.cer.run_folder import JOURNAL, REPORT, claim
from parity.cer.summary import Heard, Summary, written
from parity.cer.texts import Role, Texts, open_texts
from parity.cer.texts.records import plain_id
from parity.cer.texts.strangers import look_like_words
from parity.cer.units import find_unit
from reports import schema
from reports.schema import CerReport

StrPath = str | os.PathLike[str]
BEGINNING = 200  # lines by which it is told whether they have ids at all
HOW = "expected the same utterances in both, as `ID text` lines"
BY_LINE = "texts without ids are paired line by line with --format plain"


def score_files(
    ref: StrPath,
    hyp: StrPath,
    *,
    normalize: str = DEFAULT,
    unit: str | None = None,
    format: str | None = None,
    hotwords: Given = None,
    out: StrPath | None = None,
    overwrite: bool = False,
) -> CerReport:
    """Return the error rate of one file of texts against another; with `out`, write what `evaluate` writes.

    A line with an id only is an empty text; an id without a line in `hyp` is missing, and both count as deletions.
    Ids that differ in a folder or in an audio suffix only (`wav/u1.wav` and `u1`) are matched, and the notes say so.

    Args:
        ref, hyp: files in one of the formats of texts/__init__.py, or folders that hold one (a run, a Kaldi directory).
        normalize, unit: as for `evaluate`.
        format: a name in texts.FORMATS, for both files; told by their content where left out.
        hotwords: whose recall and precision are counted, too: words, a file, or a list.
        out, overwrite: see `run_folder.claim`.

    Raises:
        UsageError: unknown normaliser, unit or format; a list of hotwords that cannot be read.
        DatasetError: a file holds no texts, is not UTF-8, repeats an id, or shares no id with the other one.
        OutputError: see `run_folder.claim`.
    """
    summary = Summary(find_normalizer(normalize), unit and find_unit(unit).name, listed(hotwords))
    pairs = _Pairs(open_texts(Path(ref), "reference", format), open_texts(Path(hyp), "hypothesis", format))
    pairs.check(told=format is not None)
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
    return summary.report(dataset=str(pairs.ref.path), engine="files", model=str(pairs.hyp.path), notes=pairs.notes())


Spelling = Callable[[str], str]


def _as_it_is(utt_id: str) -> str:
    return utt_id


class _Side:
    """One file: the ids in it as 8-byte hashes, spelt as they are and without folder and suffix, and how it begins."""

    def __init__(self, texts: Texts):
        self.texts, self.path = texts, texts.path
        self.beginning: list[IdLine] = []
        self.silent = True
        self.hashes: dict[Spelling, array[int]] = {_as_it_is: array("q"), plain_id: array("q")}
        for line in texts.lines():
            if len(self.beginning) < BEGINNING:
                self.beginning.append(line)
            self.silent = self.silent and not line.rest.strip()
            for spell, hashes in self.hashes.items():
                hashes.append(hash(spell(line.utt_id)))

    @property
    def first(self) -> str:
        return self.beginning[0].utt_id

    def ids(self, spell: Spelling) -> set[int]:
        return set(self.hashes[spell])

    def check(self, role: Role) -> None:
        """Raise DatasetError where the file is empty, an id stands twice, or the references say nothing."""
        if not self.beginning:
            raise DatasetError(f"{shown(self.path)}: holds no text of a {role}; expected `ID text` lines")
        values, counts = np.unique(np.array(self.hashes[_as_it_is]), return_counts=True)
        suspects = set(values[counts > 1].tolist())
        seen: dict[str, int] = {}
        for line in self.texts.lines() if suspects else ():
            if hash(line.utt_id) in suspects and seen.setdefault(line.utt_id, line.number) != line.number:
                raise DatasetError(
                    f"{line.where}: id {quoted(line.utt_id)} stands in line {seen[line.utt_id]} already; "
                    "expected it once"
                )
        if role == "reference" and self.silent:
            raise DatasetError(
                f"{shown(self.path)}: no line has a text after its id (first id: {quoted(self.first)}); expected "
                f"`ID text` lines; {BY_LINE}"
            )


class _Pairs:
    """Every reference with its hypothesis, in the order of the references."""

    def __init__(self, ref: Texts, hyp: Texts):
        self.ref, self.hyp = _Side(ref), _Side(hyp)
        self.spell: Spelling = _as_it_is
        self.waiting: dict[str, str] = {}  # hypotheses met before their reference

    def __iter__(self) -> Iterator[Heard]:
        coming = self.hyp.texts.lines()
        for line in self.ref.texts.lines():
            wanted = self.spell(line.utt_id)
            text = self.waiting.pop(wanted, None)
            while text is None and (found := next(coming, None)) is not None:
                if self.spell(found.utt_id) == wanted:
                    text = found.rest
                else:
                    self.waiting[self.spell(found.utt_id)] = found.rest
            yield Heard(utt_id=line.utt_id, reference=line.rest, text=text)
        self.waiting |= {self.spell(line.utt_id): line.rest for line in coming}

    def check(self, *, told: bool) -> None:
        """Raise DatasetError where the files cannot be scored against each other; `told`: the user named the format."""
        if not told and self._without_ids(self.ref) and self._without_ids(self.hyp):
            raise DatasetError(
                f"{shown(self.ref.path)} and {shown(self.hyp.path)}: the lines seem to have no ids (they begin with "
                f"{quoted(self.ref.first)} and {quoted(self.hyp.first)}); {HOW}; {BY_LINE}, and --format kaldi says "
                "that these are ids"
            )
        self.ref.check("reference")
        self.hyp.check("hypothesis")
        lengths = [len(side.hashes[_as_it_is]) for side in (self.ref, self.hyp)]
        if self.ref.texts.format.name == "plain" and lengths[0] != lengths[1]:
            raise DatasetError(
                f"{shown(self.ref.path)} has {lengths[0]} lines, {shown(self.hyp.path)} {lengths[1]}; expected as many "
                "in both, to be paired line by line"
            )
        self._choose_spelling()

    def _without_ids(self, side: _Side) -> bool:
        return side.texts.format.name == "kaldi" and look_like_words(side.beginning)

    def _choose_spelling(self) -> None:
        """Match ids as they are, or without folder and suffix where that finds more and mixes none up."""
        shared: dict[Spelling, int] = {
            spell: len(self.ref.ids(spell) & self.hyp.ids(spell)) for spell in (_as_it_is, plain_id)
        }
        unique = all(len(side.ids(plain_id)) == len(side.hashes[plain_id]) for side in (self.ref, self.hyp))
        if shared[plain_id] > shared[_as_it_is] and unique:
            self.spell = plain_id
        if not shared[self.spell]:
            bare = [side for side in (self.ref, self.hyp) if self._without_ids(side)]
            hint = f"; {shown(bare[0].path)} seems to have no ids: {BY_LINE}" if bare else ""
            raise DatasetError(
                f"{shown(self.ref.path)} and {shown(self.hyp.path)} share no id (first ids: {quoted(self.ref.first)} "
                f"and {quoted(self.hyp.first)}); {HOW}{hint}"
            )

    def notes(self) -> list[str]:
        notes = [note for side in (self.ref, self.hyp) if (note := side.texts.note)]
        if self.spell is plain_id:
            example = f"{quoted(self.ref.first)} and {quoted(self.hyp.first)}"
            notes.append(f"ids were matched without folders and suffixes of audio files (first: {example})")
        if self.waiting:
            first = next(iter(self.waiting))
            notes.append(f"{len(self.waiting)} hypotheses have no reference and are not scored (first: {first})")
        return notes
