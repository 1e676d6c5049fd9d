"""A model and a test set -> a CerReport, through a journal that survives being killed.

Must not import mlx, torch or funasr: recognizers.py opens them lazily. Audio that fails does not end the run; it is
recorded with its reason and counts as deletions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError, UsageError
from mlx_model.files.journal import Journal
from parity.cer import datasets
from parity.cer.clips import with_audio
from parity.cer.datasets import Dataset, Utterance
from parity.cer.hotwords import Given, listed
from parity.cer.latency import LatencyTally, Probe
from parity.cer.latency import check as check_timer
from parity.cer.normalize import DEFAULT, find_normalizer
from parity.cer.recognizers import (
    Engine,
    Options,
    Recognizer,
    check_engine,
    check_model,
    local,
    model_sha256,
    open_recognizer,
    said_of_hotwords,
)
from parity.cer.recordings import Recordings
from parity.cer.run_folder import REPORT, replaced, run_folder
from parity.cer.summary import Heard, Summary, heard_from, written
from parity.cer.units import find_unit
from parity.sides.hotwords import carried
from reports import ending, schema
from reports.schema import CerReport, CerUtterance

StrPath = str | os.PathLike[str]
# Told after every batch: utterances done, utterances in all, the error rate so far.
Progress = Callable[[int, int, float], Any]

Source = tuple[str, str, str | None]  # model, engine, where the data set was read from

BATCH_SECONDS = 60.0
HOTWORDS = {"mlx": "hotwords", "funasr": "hotword"}  # what each engine calls its option


def evaluate(
    model: StrPath,
    dataset: StrPath | Dataset,
    *,
    engine: str = "mlx",
    normalize: str = DEFAULT,
    unit: str | None = None,
    out: StrPath | None = None,
    overwrite: bool = False,
    batch_seconds: float = BATCH_SECONDS,
    options: Options = None,
    hotwords: Given = None,
    times_by: StrPath | None = None,
    workers: int | str | None = None,
    allow_pipes: bool = False,
    recognizer: Recognizer | None = None,
    named: str | None = None,
    progress: Progress | None = None,
) -> CerReport:
    """Return the error rate of `model` on `dataset`.

    With `out`, the folder holds journal.jsonl from the first batch on, and when all is done cer.json (the report),
    utterances.jsonl (with alignments), ref.txt and hyp.txt (`id text` lines, not normalised; no line where there is no
    hypothesis). A run that was killed goes on with the same call.

    Args:
        model: a converted directory (engine mlx) or a FunASR model directory (engine funasr).
        dataset: a path as `read_dataset` takes it, or a Dataset.
        engine, recognizer: "mlx" or "funasr"; only a label where a recognizer is given in place of the engine's own.
        normalize, unit: names in `NORMALIZERS` and `UNITS`; unit: the normaliser's own where left out.
        out, overwrite: the folder to write to, see `run_folder.claim`.
        batch_seconds: audio per batch, padding included.
        options, hotwords: of the model's family, as language="zh", by FunASR's names; what it is to listen for, of
            which recall and precision are counted, too: words, a file or a list.
        times_by: of a streaming model's text how late it comes, too, against the times of this model; see latency.py.
        workers: None runs here; a number of processes or the address of a cluster, see distributed.py.
        allow_pipes: run the commands of a wav.scp.
        named: what the user calls the model, where `model` is a directory made of it.
        progress: see `Progress`.

    Raises:
        UsageError: an unknown name, an impossible number, an option that the model lacks, an unfinished run of another.
        DatasetError, DependencyError, OutputError: see `read_dataset`, `run_folder.claim`; no recording could be read.
    """
    timer = _checked(engine, batch_seconds, workers, model, times_by)
    summary, options = _begun(normalize, unit, engine, hotwords, options, timer)
    place = None if isinstance(dataset, Dataset) else dataset
    with run_folder(out, overwrite, [model, *([] if place is None else [place])]) as folder:
        data = dataset if isinstance(dataset, Dataset) else datasets.read_dataset(dataset, allow_pipes=allow_pipes)
        summary.said += [] if recognizer else _looked_at(engine, os.fspath(model), options)
        _check_audio(data)
        source: Source = (os.fspath(model), engine, None if place is None else _from_anywhere(place))
        key = _key(source, data, batch_seconds, options, timer)
        with replaced(folder, overwrite), Recordings() as recordings, Journal(folder, key) as journal:
            opened = partial(_engine, source, workers, recognizer, recordings, options, timer)
            with ending.going_on(lambda: _how_to_go_on(journal, data, out)):
                running = _Running(data, journal, summary, progress)
                _recognize(opened, data, journal, recordings, batch_seconds, running)
            source = (named or source[0], *source[1:])
            return _report(data, journal, summary, recordings, folder, source, keep=out is not None)


def _begun(
    normalize: str, unit: str | None, engine: str, hotwords: Given, options: Options, timer: str | None
) -> tuple[Summary, Options]:
    """Return an empty summary, and the options with the hotwords that the engine is given."""
    words = listed(hotwords, allow_urls=bool((options or {}).get("hotword_urls")))
    summary = Summary(find_normalizer(normalize), unit and find_unit(unit).name, words)
    summary.latency = None if timer is None else LatencyTally(timer)
    _ = summary.normalizer.fingerprint  # a missing library is said before hours of work
    return summary, options if words is None else {**(options or {}), HOTWORDS[engine]: carried(words)}


def _looked_at(engine: str, model: str, options: Options) -> list[str]:
    """Return what there is to say of the model and the hotwords, the model checked; see `check_model`."""
    check_model(engine, model, options)
    return said_of_hotwords(engine, model, options)


def _key(source: Source, data: Dataset, batch_seconds: float, options: Options, timer: str | None) -> dict[str, Any]:
    """Return what a journal is of: a run of anything else does not go on with it."""
    key = {
        "engine": source[1],
        "model_sha256": model_sha256(source[0]),
        "data_sha256": datasets.fingerprint(data),
        "batch_seconds": batch_seconds,
    }
    timed = {} if timer is None else {"times_by": model_sha256(timer)}
    return key | timed | ({"options": dict(options)} if options else {})


def _how_to_go_on(journal: Journal, data: Dataset, out: StrPath | None) -> str:
    if not len(journal):
        return "nothing was recognised yet, and nothing was left half-written"
    done = f"{len(journal)} of {len(data.utterances)} utterances were recognised"
    if out is None:
        return f"{done} and are lost; with --out a run can go on"
    return f"{done} and are kept in {os.fspath(out)}; the same command (without --overwrite) goes on from there"


def _checked(
    engine: str, batch_seconds: float, workers: int | str | None, model: StrPath, times_by: StrPath | None
) -> str | None:
    """Return who says when words are said, if latency is asked for.

    Raises:
        UsageError: an unknown engine, an impossible number, or a latency that cannot be measured.
    """
    _check_options(engine, batch_seconds, workers)
    if times_by is None:
        return None
    if engine != "mlx" or workers is not None:
        raise UsageError("--times-by measures a stream of engine mlx in this process: leave --engine and --workers out")
    check_timer(os.fspath(model), os.fspath(times_by))
    return os.fspath(times_by)


def _check_options(engine: str, batch_seconds: float, workers: int | str | None) -> None:
    """Raise UsageError for an unknown engine or an impossible number."""
    check_engine(engine)
    if not 0 < batch_seconds < math.inf:
        raise UsageError(f"batch seconds {batch_seconds:g}: expected a number above 0")
    if workers is not None:
        from parity.cer.distributed import check_workers

        check_workers(workers)


def _check_audio(data: Dataset) -> None:
    """Raise DatasetError where no recording of the set exists: a rate would say nothing about the model."""
    paths = {item.path for item in data.utterances}
    if not any(path.is_file() for path in paths):
        raise DatasetError(
            f"{data.name}: no recording can be read, so there is no error rate: {(data.notes or ('none exists',))[-1]}"
        )


def _check_answers(data: Dataset, journal: Journal) -> None:
    """Raise DatasetError where every recording failed, and forget the run: the next one is to try them again."""
    failures = journal.answers(item.utt_id for item in data.utterances)
    first: str | None = None
    for answer in failures:
        if answer is None or answer.get("error") is None:
            return
        first = first or answer["error"]
    journal.path.unlink(missing_ok=True)
    raise DatasetError(
        f"{data.name}: none of {len(data.utterances)} recordings could be read, so there is no error rate (first: "
        f"{data.utterances[0].utt_id}: {first})"
    )


def _from_anywhere(dataset: StrPath) -> str:
    """Return a path that holds in any folder; a hub id as it is."""
    text = os.fspath(dataset)
    return os.path.abspath(text) if os.path.exists(text.partition("#")[0]) else text


def _engine(
    source: Source,
    workers: int | str | None,
    recognizer: Recognizer | None,
    recordings: Recordings,
    options: Options,
    timer: str | None,
) -> Engine:
    model, name, _ = source
    if workers is not None:
        from parity.cer.distributed import open_cluster

        return open_cluster(name, model, workers, options)
    probe = None if timer is None else Probe(model, timer, options or {})
    return local(recognizer or open_recognizer(name, model, options), recordings, probe)


class _Running:
    """The error rate so far, for whoever watches; nothing is scored where nobody does."""

    def __init__(self, data: Dataset, journal: Journal, like: Summary, progress: Progress | None):
        self.summary, self.progress = Summary(like.normalizer, like.unit), progress
        self.done, self.total = len(journal), len(data.utterances)
        known = [item for item in data.utterances if item.utt_id in journal] if progress else []
        self._add(zip(known, journal.answers([item.utt_id for item in known]), strict=True))

    def _add(self, pairs: Any) -> None:
        for item, answer in pairs:
            self.summary.add(_heard(item, answer))
        if self.progress is not None:
            self.progress(self.done, self.total, self.summary.cer)

    def add(self, batch: Sequence[Utterance], answers: Sequence[dict[str, Any]]) -> None:
        """Count a batch."""
        self.done += len(batch)
        self._add(zip(batch, answers, strict=True) if self.progress is not None else ())


def _recognize(
    opened: Callable[[], Engine],
    data: Dataset,
    journal: Journal,
    recordings: Recordings,
    batch_seconds: float,
    running: _Running,
) -> None:
    """Run an engine over what the journal lacks, in batches of similar length, and write down each as it comes."""
    from mlx_model.audio.batching import batches

    left = [item for item in data.utterances if item.utt_id not in journal]
    if not left:
        return _check_answers(data, journal)
    engine = opened()
    plan = [
        [left[index] for index in indices]
        for indices in batches([recordings.duration_s(item) for item in left], None, batch_seconds)
    ]
    last = time.perf_counter()
    with contextlib.closing(engine(plan)) as results:  # an error here must end workers elsewhere too
        for number, answers in results:
            now = time.perf_counter()
            journal.append([*zip([item.utt_id for item in plan[number]], _timed(answers, now - last), strict=True)])
            last = now
            running.add(plan[number], answers)
    return _check_answers(data, journal)


def _timed(answers: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Return the answers with their share of a batch's wall time and their real-time factor, both by duration.

    A worker that shares the wall with others has timed itself: its factor is kept.
    """
    audio_s = sum(answer["duration_s"] or 0.0 for answer in answers)
    rtf = seconds / audio_s if audio_s else None
    return [
        {"rtf": rtf if answer["duration_s"] else None, **answer, "wall_s": (rtf or 0.0) * (answer["duration_s"] or 0.0)}
        for answer in answers
    ]


def _heard(item: Utterance, answer: dict[str, Any] | None) -> Heard:
    known = {"speaker": item.speaker, "condition": item.condition, "duration_s": item.duration_s}
    return heard_from(answer, utt_id=item.utt_id, reference=item.text, **known)


def _report(
    data: Dataset,
    journal: Journal,
    summary: Summary,
    recordings: Recordings,
    folder: Path,
    source: Source,
    *,
    keep: bool,
) -> CerReport:
    """Return the report of a finished journal; with `keep`, write it and what it was made of."""
    wall_s = [0.0]
    said: list[dict[str, Any]] = []  # of every session and machine that recognised some of it

    def rows() -> Iterator[tuple[Heard, CerUtterance]]:
        for item, answer in zip(data.utterances, journal.answers(item.utt_id for item in data.utterances), strict=True):
            wall_s[0] += (answer or {}).get("wall_s") or 0.0
            if (numerics := (answer or {}).get("numerics")) and numerics not in said:
                said.append(numerics)
            heard = _heard(item, answer)
            yield heard, summary.add(heard)

    model, engine, dataset_path = source
    with written(folder, rows()):
        audio_s = summary.audio_s
        report = summary.report(
            dataset=data.name,
            engine=engine,
            model=model,
            audio_s=audio_s,
            wall_s=wall_s[0],
            rtf=wall_s[0] / audio_s if audio_s else None,
            data_sha256=journal.key["data_sha256"],
            model_sha256=journal.key["model_sha256"],
            options=journal.key.get("options", {}),
            dataset_path=dataset_path,
            dataset_notes=list(data.notes),
            numerics={} if not said else said[0] if len(said) == 1 else {**said[0], "others": said[1:]},
            notes=["wall_s and rtf include starting FunASR's process and loading its model"] * (engine == "funasr"),
        )
        if keep:
            report = dataclasses.replace(report, worst=with_audio(report.worst, data, recordings))
    if keep:
        schema.write(report, folder / REPORT)
    return report
