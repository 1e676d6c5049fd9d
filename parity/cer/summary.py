"""Utterances and their answers, one after the other -> rows on disk and a CerReport; memory flat in their number.

Must not import mlx, torch or funasr. Rows, references and hypotheses are written as they pass; the report keeps sums,
groups and the worst utterances only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from parity.cer.calibration import Confidences
from parity.cer.groups import Group
from parity.cer.hotwords import HotwordTally
from parity.cer.latency import LatencyTally
from parity.cer.normalize import Normalizer
from parity.cer.score import score_utterance
from parity.cer.statistics import bootstrap_interval
from parity.cer.tally import Tally
from parity.cer.units import find_unit
from reports.checking import build
from reports.environment import describe
from reports.schema import Bin, CerDivision, CerGroup, CerReport, CerUtterance, Confusion, Failure
from reports.writing import replacing

ROWS, HYPOTHESES, REFERENCES = "utterances.jsonl", "hyp.txt", "ref.txt"
CONFUSIONS_SHOWN = 30  # of each kind
FAILURES_SHOWN = 100
RATES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
RTFS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
_ROW = tuple(item.name for item in fields(CerUtterance) if item.name != "audio")
_BREAKS = re.compile(r"[\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One utterance and what was made of it, before normalisation; `text` is None where there is no hypothesis."""

    utt_id: str
    reference: str
    text: str | None
    speaker: str | None = None
    condition: str | None = None
    duration_s: float | None = None
    error: str | None = None
    rtf: float | None = None
    confidences: list[float] | None = None  # one for each character of the text that is no white space
    emissions: list[Any] | None = None  # see latency.py
    times: list[Any] | None = None


class Summary:
    """Scores one utterance after the other, and sums up; with a folder, writes them down meanwhile."""

    def __init__(self, normalizer: Normalizer, unit: str | None, hotwords: Sequence[str] | None = None):
        self.normalizer, self.unit = normalizer, unit or normalizer.unit
        self.hotwords = None if hotwords is None else HotwordTally(hotwords, normalizer, self.unit)
        self.latency: LatencyTally | None = None
        self.said = [*getattr(hotwords, "notes", ())]  # of the list
        self.tally = Tally()
        self.confidences = Confidences()
        self.failures: list[Failure] = []
        self.failed = 0
        self.audio_s = 0.0

    def add(self, heard: Heard) -> CerUtterance:
        """Score one utterance and return its row."""
        row = score_utterance(
            heard.utt_id,
            heard.reference,
            heard.text,
            self.normalizer,
            self.unit,
            speaker=heard.speaker,
            duration_s=heard.duration_s,
            error=heard.error,
        )
        conditions = {"condition": heard.condition} if heard.condition is not None else None
        self.tally.add(row, conditions=conditions, rtf=heard.rtf)
        if heard.confidences is not None and heard.text is not None:
            self.confidences.add(heard.text, heard.confidences, row.alignment, find_unit(self.unit))
        if self.hotwords is not None:
            self.hotwords.add(row)
        if self.latency is not None and heard.emissions is not None:
            self.latency.add(heard.emissions, heard.times or [])
        if heard.error is None:
            self.audio_s += heard.duration_s or 0.0
        else:
            self.failed += 1
            if len(self.failures) < FAILURES_SHOWN:
                self.failures.append(Failure(utt_id=heard.utt_id, error=heard.error))
        return row

    @property
    def cer(self) -> float:
        """The rate so far."""
        return self.tally.total.cer

    def report(self, *, dataset: str, engine: str, model: str, notes: Sequence[str] = (), **known: Any) -> CerReport:
        """Return the report over all utterances added; `known` are further fields of CerReport."""
        tally, total = self.tally, self.tally.total
        errors, lengths = tally.error_counts, tally.reference_lengths
        interval = bootstrap_interval(errors, lengths)
        index = tally.speaker_index
        known_speakers = len(tally.speakers()) > 1 and bool((index >= 0).all())
        by_speaker = bootstrap_interval(errors, lengths, groups=index) if known_speakers else None
        return CerReport(
            cer=total.cer,
            substitutions=total.substitutions,
            deletions=total.deletions,
            insertions=total.insertions,
            hits=total.hits,
            reference_length=total.reference_length,
            utterances=total.utterances,
            missing=total.missing,
            failed=self.failed,
            ci95=[interval.low, interval.high],
            ci95_speakers=None if by_speaker is None else [by_speaker.low, by_speaker.high],
            ser=total.ser,
            mean_utterance_cer=tally.mean_utterance_cer,
            **self._scoring(),
            dataset=dataset,
            engine=engine,
            model=model,
            divisions=self._divisions(),
            confusions=self._confusions(),
            rate_bins=_rate_bins(errors, lengths),
            rtf_bins=_bins(tally.rtf, RTFS, [f"{edge:g}" for edge in RTFS]) if len(tally.rtf) else [],
            failures=self.failures,
            worst=known.pop("worst", tally.worst()),
            notes=[*self._failed(), *self.said, *notes,
                   *self._notes(interval.note, by_speaker.note if by_speaker else "")],
            confidence=self.confidences.report(),
            hotwords=None if self.hotwords is None else self.hotwords.report(),
            latency=None if self.latency is None else self.latency.report(),
            delay_bins=[] if self.latency is None else self.latency.bins(),
            environment=describe(bootstrap={"resamples": interval.resamples, "seed": interval.seed}),
            **known,
        )  # fmt: skip

    def _scoring(self) -> dict[str, Any]:
        normalizer = self.normalizer
        used = ", ".join(f"{name} {version}" for name, version in normalizer.packages.items())
        return {
            "unit": self.unit,
            "normalizer": normalizer.name,
            "normalizer_version": normalizer.version,
            "normalizer_fingerprint": normalizer.fingerprint,
            "normalizer_steps": [*normalizer.step_names, *([f"(libraries: {used})"] if used else [])],
        }

    def _divisions(self) -> list[CerDivision]:
        tally = self.tally
        found = {
            "speaker": tally.speakers(),
            "length": tally.lengths(),
            "duration": tally.durations(),
            "rate": tally.rates(),
            **tally.conditions(),
        }
        return [CerDivision(name=name, groups=[*map(_group, groups)]) for name, groups in found.items() if groups]

    def _confusions(self) -> list[Confusion]:
        return [
            Confusion(kind=kind, reference=left, hypothesis=right, count=count)
            for kind in "SDI"
            for left, right, count in self.tally.confusions(kind, CONFUSIONS_SHOWN)
        ]

    def _failed(self) -> list[str]:
        """Return what stands before all else, where the rate is not that of the whole set."""
        if not self.failed:
            return []
        first = self.failures[0]
        return [
            f"{self.failed} of {self.tally.total.utterances} recordings failed and count as deletions "
            f"(first: {first.utt_id}: {first.error})"
        ]

    def _notes(self, *intervals: str) -> list[str]:
        notes = [*self.tally.notes(), *filter(None, intervals)]
        if self.tally.confusions_undercount:
            notes.append(f"counts of confusions may be too low by up to {self.tally.confusions_undercount}")
        return notes


def _group(group: Group) -> CerGroup:
    return CerGroup(
        name=group.name,
        utterances=group.utterances,
        substitutions=group.substitutions,
        deletions=group.deletions,
        insertions=group.insertions,
        hits=group.hits,
        missing=group.missing,
        cer=group.cer,
        ser=group.ser,
    )


def _rate_bins(errors: np.ndarray, lengths: np.ndarray) -> list[Bin]:
    rates = np.divide(errors, lengths, out=np.where(errors > 0, np.inf, 0.0), where=lengths > 0)
    right = Bin(label="0 %", count=int((rates == 0).sum()))
    return [right, *_bins(rates[rates > 0], RATES, [f"{100 * edge:g} %" for edge in RATES])]


def _bins(values: np.ndarray, edges: Sequence[float], names: Sequence[str]) -> list[Bin]:
    """Return how many values lie up to each edge, and how many beyond the last."""
    counts = np.bincount(np.searchsorted(edges, values, "left"), minlength=len(edges) + 1)
    labels = [*(f"≤ {name}" for name in names), f"> {names[-1]}"]
    return [Bin(label=label, count=int(count)) for label, count in zip(labels, counts, strict=True)]


@contextmanager
def written(folder: Path, rows: Iterable[tuple[Heard, CerUtterance]]) -> Iterator[None]:
    """Write all rows under temporary names while entering, and give them their names on leaving without an error."""
    with ExitStack() as stack:
        paths = [stack.enter_context(replacing(folder / name)) for name in (ROWS, HYPOTHESES, REFERENCES)]
        with ExitStack() as opened:
            files = [opened.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in paths]
            for heard, row in rows:
                _write_row(files, heard, row)
        yield


def _write_row(files: Sequence[TextIO], heard: Heard, row: CerUtterance) -> None:
    rows, hypotheses, references = files
    # Escaped, so that half of a surrogate pair in a text cannot stop the run.
    rows.write(json.dumps({name: getattr(row, name) for name in _ROW}, ensure_ascii=True) + "\n")
    # A line break inside a text would begin a line of its own, which the reader would take for another utterance.
    if heard.text is not None:
        hypotheses.write(f"{heard.utt_id} {_one_line(heard.text)}\n")
    references.write(f"{heard.utt_id} {_one_line(heard.reference)}\n")


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text).encode("utf-8", "replace").decode("utf-8")


def read_rows(run: Path) -> Iterator[CerUtterance]:
    """Yield the utterances of a run in the order of its test set.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: the file cannot be read, or a line is damaged.
    """
    path = run / ROWS
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    entry = json.loads(line)
                    if not isinstance(entry, dict):
                        raise ValueError(f"holds a {type(entry).__name__}")
                    row = build(CerUtterance, entry, "the row")
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{path}:{number}: damaged ({error})") from error
                yield row
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def heard_from(answer: Mapping[str, Any] | None, **known: Any) -> Heard:
    """Return what a journal's answer says of an utterance; `known` are the fields of its data set."""
    found = answer or {"text": None, "error": "not recognised"}
    fallback = known.pop("duration_s", None)
    duration = found.get("duration_s")
    return Heard(
        **known,
        text=found.get("text"),
        duration_s=fallback if duration is None else duration,
        error=found.get("error"),
        rtf=found.get("rtf"),
        confidences=found.get("confidences"),
        emissions=found.get("emissions"),
        times=found.get("times"),
    )
