"""Two runs on the same utterances -> a CompareReport: the paired difference, how sure it is, and where it comes from.

Must not import mlx, torch or funasr. Differences are B - A: below 0, B makes fewer errors.
"""

from __future__ import annotations

import dataclasses
import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import DatasetError, MlxFunasrError, UsageError
from mlx_model.files.destination import claimed
from parity.cer.clips import with_audio
from parity.cer.datasets import read_dataset
from parity.cer.margins import margins
from parity.cer.recordings import Recordings
from parity.cer.run_folder import REPORT
from parity.cer.score import utterance_errors
from parity.cer.significance import mapsswe, segment_errors, utterances_needed
from parity.cer.statistics import PairedBootstrap, corpus_rate, paired_bootstrap
from parity.cer.summary import read_rows
from parity.cer.units import find_unit
from reports import schema
from reports.environment import describe
from reports.schema import CerReport, CerUtterance, CompareReport, CompareSide, DifferingUtterance, PairedGroup

StrPath = str | os.PathLike[str]
NAME = "compare.json"
DIFFERING_SHOWN = 200
ALPHA = 0.05
ONE_SET = "compare runs over one test set"
SHOWN = ["engine", "model", "cer", "ci95", "substitutions", "deletions", "insertions", "hits", "ser", "missing", "rtf"]
# What must have been done alike in both runs for their rates to be comparable.
ALIKE = ("unit", "normalizer", "normalizer_version", "normalizer_fingerprint")


def compare(
    run_a: StrPath,
    run_b: StrPath,
    *,
    parity: StrPath | None = None,
    out: StrPath | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> CompareReport:
    """Return the paired comparison of two finished runs, folders that `evaluate` or `score_files` wrote.

    With `out`, also writes out/compare.json. With `parity`, the folder of a parity run (or a parity.json in either
    run's own), utterances that differ say how narrow their decisions were.

    Raises:
        UsageError: a folder holds no finished run, or the two were normalised or cut into units differently.
        DatasetError: they are not over the same utterances with the same references.
        OutputError: out/compare.json exists, and is not to be overwritten; see also `claimed`.
    """
    with claimed(out, [NAME], overwrite=overwrite):
        report = _compared((Path(run_a), Path(run_b)), parity, seed)
        if out is not None:
            schema.write(report, Path(out) / NAME)
    return report


def _compared(folders: tuple[Path, Path], parity: StrPath | None, seed: int) -> CompareReport:
    a, b = map(_finished, folders)
    different = [name for name in ALIKE if getattr(a, name) != getattr(b, name)]
    if different:
        sides = [f"{name}: {getattr(a, name)!r} and {getattr(b, name)!r}" for name in different]
        raise UsageError(
            f"{folders[0]} and {folders[1]} were not scored alike ({'; '.join(sides)}); score both with the same "
            "--normalize and --unit, e.g. with `cer score RUN/ref.txt RUN/hyp.txt`"
        )
    narrow = margins([Path(parity)] if parity else folders, required=parity is not None)
    return _Paired(a.unit, narrow).over(folders).report((a, b), folders, seed)


def _finished(run: Path) -> CerReport:
    try:
        report = schema.read(run / REPORT)
    except FileNotFoundError:
        raise UsageError(
            f"{run}: no {REPORT}; expected the folder of a finished run (mlx-funasr cer MODEL DATASET --out {run})"
        ) from None
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(report, CerReport):
        raise UsageError(f"{run / REPORT}: not an error rate report")
    return report


class _Paired:
    """Both runs' utterances, pair by pair; a few numbers of each are kept, and the pairs that differ most."""

    def __init__(self, unit: str, margins: Mapping[str, str]):
        self.margins = margins
        measure = find_unit(unit)
        self.count_units = len if unit == "char" else lambda text: len(measure.cut(text))
        self.errors, self.lengths = (array("i"), array("i")), array("i")
        self.segments: tuple[list[int], list[int]] = ([], [])
        self.speakers: list[str | None] = []
        self.identical = self.differing_total = 0
        self.differing: list[DifferingUtterance] = []

    def over(self, folders: tuple[Path, Path]) -> _Paired:
        """Take in all pairs of two runs."""
        for a, b in _pairs(folders):
            self.add(a, b)
        return self

    def add(self, a: CerUtterance, b: CerUtterance) -> None:
        """Take in one utterance."""
        for kept, row in zip(self.errors, (a, b), strict=True):
            kept.append(utterance_errors(row))
        self.lengths.append(a.hits + a.substitutions + a.deletions)
        self.speakers.append(a.speaker)
        if utterance_errors(a) or utterance_errors(b):
            found = segment_errors(a.alignment, b.alignment, units=self.count_units)
            for kept, new in zip(self.segments, found, strict=True):
                kept.extend(new)
        if a.hypothesis == b.hypothesis:
            self.identical += 1
            return
        self.differing_total += 1
        self.differing.append(_differing(a, b))
        if len(self.differing) >= 2 * DIFFERING_SHOWN:
            self._keep_the_most_different()

    def _keep_the_most_different(self) -> None:
        self.differing.sort(key=lambda row: (-abs(row.errors_b - row.errors_a), row.utt_id))
        del self.differing[DIFFERING_SHOWN:]

    def report(self, reports: tuple[CerReport, CerReport], runs: tuple[Path, Path], seed: int) -> CompareReport:
        """Return the report over all pairs."""
        self._keep_the_most_different()
        a, b = (np.array(errors) for errors in self.errors)
        lengths = np.array(self.lengths)
        paired = paired_bootstrap(a, b, lengths, seed=seed)
        labels = [speaker for speaker in self.speakers if speaker is not None]
        known = len(labels) == len(a) and len(set(labels)) > 1
        grouped = paired_bootstrap(a, b, lengths, groups=labels, seed=seed) if known else None
        test = mapsswe(*self.segments)
        needed = utterances_needed(a, b, lengths)
        notes = [note for note in (paired.note, grouped.note if grouped else "", test.note) if note]
        return CompareReport(
            difference=paired.difference,
            ci95=[paired.low, paired.high],
            probability_of_improvement=paired.probability_of_improvement,
            p_mapsswe=test.p_value,
            sentence=self._sentence(paired, test.p_value, needed),
            a=_side(reports[0], runs[0]),
            b=_side(reports[1], runs[1]),
            utterances=len(a),
            identical=self.identical,
            reference_length=int(lengths.sum()),
            normalizer=f"{reports[0].normalizer} {reports[0].normalizer_version}",
            unit=reports[0].unit,
            ci95_speakers=None if grouped is None else [grouped.low, grouped.high],
            mapsswe_z=test.z,
            mapsswe_segments=test.segments,
            utterances_needed=needed,
            better_a=int((a < b).sum()),
            better_b=int((b < a).sum()),
            differing_total=self.differing_total,
            differing=_heard(self.differing, reports, self.margins, notes),
            groups=self._groups(a, b, lengths),
            notes=notes,
            environment=describe(bootstrap={"resamples": paired.resamples, "seed": paired.seed}),
        )

    def _sentence(self, paired: PairedBootstrap, p: float, needed: int | None) -> str:
        """Return what the comparison says, in words."""
        count = len(self.lengths)
        if self.identical == count:
            return f"No difference: all {count} hypotheses are identical."
        if not paired.difference:
            return f"Both make equally many errors over {count} utterances, though {self.differing_total} texts differ."
        points = f"{abs(paired.difference) * 100:.2f} points {'lower' if paired.difference < 0 else 'higher'}"
        if (paired.low > 0 or paired.high < 0) and p < ALPHA:
            return f"B's error rate is {points} than A's, and {count} utterances are enough to say so."
        more = f"; about {needed:,} utterances like these would be needed" if needed and needed > count else ""
        return f"B's error rate is {points} than A's, which {count} utterances do not tell from chance{more}."

    def _groups(self, a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> list[PairedGroup]:
        """Return both rates per speaker, where speakers are known."""
        names = list(dict.fromkeys(speaker for speaker in self.speakers if speaker is not None))
        places = {name: place for place, name in enumerate(names)}
        index = np.array([places.get(speaker, -1) if speaker is not None else -1 for speaker in self.speakers])
        rows = []
        for name, place in places.items():
            inside = index == place
            length = int(lengths[inside].sum())
            rates = [corpus_rate(int(errors[inside].sum()), length) for errors in (a, b)]
            difference = corpus_rate(int((b - a)[inside].sum()), length) if length else 0.0
            rows.append(
                PairedGroup(
                    name=name, utterances=int(inside.sum()), cer_a=rates[0], cer_b=rates[1], difference=difference
                )
            )
        return rows


def _pairs(folders: tuple[Path, Path]) -> Iterator[tuple[CerUtterance, CerUtterance]]:
    """Yield both runs' rows of every utterance; DatasetError where ids or references differ."""
    sides = [read_rows(folder) for folder in folders]
    waiting: dict[str, CerUtterance] = {}  # of the second run, where it is in another order
    try:
        for a in sides[0]:
            b = waiting.pop(a.utt_id, None)
            while b is None:
                found = next(sides[1], None)
                if found is None:
                    raise DatasetError(f"{folders[1]} lacks utterance {a.utt_id!r} of {folders[0]}; {ONE_SET}")
                if found.utt_id == a.utt_id:
                    b = found
                else:
                    waiting[found.utt_id] = found
            if a.reference != b.reference:
                raise DatasetError(f"{a.utt_id}: the two runs have different references; {ONE_SET}")
            yield a, b
        surplus = next(iter(waiting), None) or getattr(next(sides[1], None), "utt_id", None)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(f"{error}; run the evaluation again") from error
    if surplus is not None:
        raise DatasetError(f"{folders[0]} lacks utterance {surplus!r} of {folders[1]}; {ONE_SET}")


def _differing(a: CerUtterance, b: CerUtterance) -> DifferingUtterance:
    return DifferingUtterance(
        utt_id=a.utt_id,
        reference=a.reference,
        hypothesis_a=a.hypothesis,
        hypothesis_b=b.hypothesis,
        errors_a=utterance_errors(a),
        errors_b=utterance_errors(b),
        alignment_a=a.alignment,
        alignment_b=b.alignment,
        speaker=a.speaker,
        duration_s=a.duration_s if a.duration_s is not None else b.duration_s,
    )


def _heard(
    rows: list[DifferingUtterance], reports: tuple[CerReport, CerReport], narrow: Mapping[str, str], notes: list[str]
) -> list[DifferingUtterance]:
    """Return the rows with their margins, and the first with their recordings where the data set is still at hand."""
    rows = [dataclasses.replace(row, margin=narrow.get(row.utt_id)) for row in rows]
    path = reports[0].dataset_path or reports[1].dataset_path
    if not rows or path is None:
        return rows
    try:
        with Recordings() as recordings:
            return with_audio(rows, read_dataset(path), recordings)
    except MlxFunasrError as error:
        notes.append(f"without recordings: {error}")
        return rows


def _side(report: CerReport, run: Path) -> CompareSide:
    known: dict[str, Any] = {name: getattr(report, name) for name in SHOWN}
    return CompareSide(run=str(run), **known)
