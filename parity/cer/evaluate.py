"""A model and a test set -> a CerReport; or two text files -> the same report without a model.

Must not import mlx, torch or funasr: the engines are opened lazily by engines.py. Audio that fails does not end the
run; it is recorded with its reason and counts as deletions.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError, OutputError
from parity.cer import datasets
from parity.cer.engines import Progress, Transcriber, open_engine
from parity.cer.lists import read_id_lines
from parity.cer.normalize import DEFAULT, Normalizer, find_normalizer
from parity.cer.score import Score, score, utterance_errors
from parity.cer.statistics import bootstrap_interval
from reports import schema
from reports.environment import describe
from reports.schema import CerReport

StrPath = str | os.PathLike[str]


def evaluate(
    model: StrPath,
    dataset: StrPath | datasets.Dataset,
    *,
    engine: str = "mlx",
    normalize: str = DEFAULT,
    out: StrPath | None = None,
    overwrite: bool = False,
    batch_seconds: float | None = None,
    transcriber: Transcriber | None = None,
    progress: Progress | None = None,
) -> CerReport:
    """Return the character error rate of `model` on `dataset`, with every utterance's alignment.

    With `out`, also writes out/cer.json (the report) and out/hyp.txt (`id text` lines as recognised, not normalised;
    no line where there is no hypothesis), each whole or not at all.

    Args:
        model: a converted directory (engine mlx) or a FunASR model directory (engine funasr).
        dataset: a path as `read_dataset` takes it, or a Dataset.
        engine: "mlx" or "funasr"; only a label where a `transcriber` is given.
        normalize: a name in `NORMALIZERS`.
        out, overwrite: the folder to write to; OutputError where it holds anything, unless `overwrite`.
        batch_seconds, progress: see `open_engine`.
        transcriber: used in place of the engine's own.
    """
    normalizer = find_normalizer(normalize)
    data = dataset if isinstance(dataset, datasets.Dataset) else datasets.read_dataset(dataset)
    folder = None if out is None else _free_folder(Path(out), overwrite)
    if transcriber is None:
        transcriber = open_engine(engine, os.fspath(model), batch_seconds=batch_seconds, progress=progress)
    start = time.perf_counter()
    results = _transcribe(transcriber, data)
    report = _report_run(data, results, normalizer, (str(model), engine), time.perf_counter() - start)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _write_hypotheses(_hypotheses(results), folder)
        schema.write(report, folder / "cer.json")
    return report


def score_files(ref: StrPath, hyp: StrPath, *, normalize: str = DEFAULT) -> CerReport:
    """Return the character error rate of one file of `ID text` lines against another.

    A line with an id only is an empty text; an id without a line in `hyp` is missing, and both count as deletions.

    Raises:
        UsageError: unknown normaliser.
        DatasetError: a file is empty, is not UTF-8, repeats an id, or shares no id with the other one.
    """
    normalizer = find_normalizer(normalize)
    references, hypotheses = _read_texts(Path(ref)), _read_texts(Path(hyp))
    if not references.keys() & hypotheses.keys():
        raise DatasetError(
            f"{ref} and {hyp} share no id (first ids: {next(iter(references))!r} and {next(iter(hypotheses))!r}); "
            "expected the same utterances in both, as `ID text` lines"
        )
    scored = score(references, hypotheses, normalizer)
    return _report(scored, normalizer, dataset=str(ref), engine="files", model=str(hyp))


def _read_texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for line in read_id_lines(path):
        if line.utt_id in texts:
            first = numbers[line.utt_id]
            raise DatasetError(f"{line.where}: id {line.utt_id!r} stands in line {first} already; expected it once")
        texts[line.utt_id], numbers[line.utt_id] = line.rest, line.number
    if not texts:
        raise DatasetError(f"{path}: holds no line; expected `ID text` lines")
    return texts


def _free_folder(folder: Path, overwrite: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder to write cer.json and hyp.txt to")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"{folder} is not empty; choose another folder, or overwrite (--overwrite)")
    return folder


def _transcribe(transcriber: Transcriber, data: datasets.Dataset) -> dict[str, Mapping[str, Any]]:
    """Return {utt_id: result} in the set's order, each checked to be the answer to its own path.

    A result shifted by one utterance would look like recognition errors, so it is refused instead.
    """
    paths = [item.path for item in data.utterances if item.path.is_file()]
    answers = list(transcriber(paths)) if paths else []
    if [str(answer["path"]) for answer in answers] != [str(path) for path in paths]:
        raise ValueError(f"the transcriber gave {len(answers)} results for {len(paths)} paths, or in another order")
    by_path = dict(zip(paths, answers, strict=True))
    return {
        item.utt_id: by_path.get(item.path, {"text": None, "error": f"no such file: {item.path}"})
        for item in data.utterances
    }


def _hypotheses(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Return {utt_id: text}; what a failed recording may have left as text (often "") is no hypothesis."""
    return {utt_id: None if item.get("error") else item.get("text") for utt_id, item in results.items()}


def _report_run(
    data: datasets.Dataset,
    results: Mapping[str, Mapping[str, Any]],
    normalizer: Normalizer,
    source: tuple[str, str],
    wall_s: float,
) -> CerReport:
    """Return the report of a run; `source` is (model, engine)."""
    scored = score({item.utt_id: item.text for item in data.utterances}, _hypotheses(results), normalizer)
    speakers = {item.utt_id: item.speaker for item in data.utterances}
    rows = tuple(
        dataclasses.replace(
            row,
            speaker=speakers[row.utt_id],
            duration_s=results[row.utt_id].get("duration_s"),
            error=results[row.utt_id].get("error"),
        )
        for row in scored.rows
    )
    model, engine = source
    report = _report(dataclasses.replace(scored, rows=rows), normalizer, dataset=data.name, engine=engine, model=model)
    audio_s = math.fsum(row.duration_s or 0.0 for row in rows if row.error is None)
    rtf = wall_s / audio_s if audio_s else None
    if engine == "funasr":
        report.notes.append("wall_s and rtf include starting FunASR's process and loading its model")
    return dataclasses.replace(report, audio_s=audio_s, wall_s=wall_s, rtf=rtf, dataset_notes=list(data.notes))


def _report(scored: Score, normalizer: Normalizer, *, dataset: str, engine: str, model: str) -> CerReport:
    rows = scored.rows
    interval = bootstrap_interval([utterance_errors(row) for row in rows], [len(row.reference) for row in rows])
    failed = [row for row in rows if row.error is not None]
    notes = [*scored.notes, *([interval.note] if interval.note else [])]
    if failed:
        first = f"{failed[0].utt_id}: {failed[0].error}"
        notes.append(f"{len(failed)} of {len(rows)} recordings failed and count as deletions (first: {first})")
    return CerReport(
        cer=scored.cer,
        substitutions=scored.substitutions,
        deletions=scored.deletions,
        insertions=scored.insertions,
        hits=scored.hits,
        reference_length=scored.reference_length,
        utterances=len(rows),
        missing=scored.missing,
        failed=len(failed),
        ci95=[interval.low, interval.high],
        ser=scored.ser,
        mean_utterance_cer=scored.mean_utterance_cer,
        normalizer=normalizer.name,
        normalizer_steps=normalizer.step_names,
        dataset=dataset,
        engine=engine,
        model=model,
        rows=list(rows),
        notes=notes,
        environment=describe(
            normalizer_version=normalizer.version, bootstrap={"resamples": interval.resamples, "seed": interval.seed}
        ),
    )


def _write_hypotheses(texts: Mapping[str, str | None], folder: Path) -> None:
    # A line break inside a text would begin a line of its own, which the reader would take for another utterance.
    breaks = re.compile(r"[\r\n]+")
    lines = [f"{utt_id} {breaks.sub(' ', text)}\n" for utt_id, text in texts.items() if text is not None]
    temporary = folder / "hyp.txt.partial"
    temporary.write_text("".join(lines), "utf-8", newline="\n")
    os.replace(temporary, folder / "hyp.txt")
