"""Who transcribes: the MLX model, the real FunASR, or a callable of the caller's, all behind one interface.

Both engines are imported inside the functions that open them: importing this file must load neither mlx nor torch nor
funasr. The mlx engine needs mlx_model, the funasr engine parity.sides.reference (a process of its own).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_model.errors import AudioError, ConfigError, UsageError
from parity.cer.datasets import Utterance
from parity.cer.parts import source_name
from parity.cer.recordings import Recordings
from parity.sides import guard
from reports.environment import directory_sha256

# Batches of paths in; for each batch, in order, one mapping per path with fields of `transcribe --json`: path, text
# (None where there is none), duration_s, error (None or one line).
Recognizer = Callable[[Iterable[Sequence[Path]]], Iterator[Sequence[Mapping[str, Any]]]]
# Batches of utterances in; out, in any order, the batch's number and one answer per utterance: text, duration_s, error,
# and rtf where the engine has timed itself.
Engine = Callable[[Iterable[Sequence[Utterance]]], Generator[tuple[int, list[dict[str, Any]]], None, None]]

ENGINES = ("mlx", "funasr")
# What parity.sides.reference loads; torch computes float32 products exactly on a CPU.
FUNASR = {
    "device": "cpu", "float32": "exact", "float32_error": None, "engine": "FunASR on torch", "blas": "torch's own",
    "precision": "float32",
}  # fmt: skip


def check_engine(engine: str) -> str:
    """Return the name, or raise UsageError naming the nearest engine where there is none of that name."""
    if engine in ENGINES:
        return engine
    near = difflib.get_close_matches(engine, ENGINES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no engine is called {engine!r}{hint} (there are: {', '.join(ENGINES)})")


def check_model(engine: str, model: str) -> None:
    """Look at the model before anything is written or started: is it there, and of the kind that the engine takes?

    Raises:
        ConfigError: the mlx engine is given no conversion; a FunASR directory has no configuration, or a hostile one.
        UsageError: a conversion that writes no text, one for FunASR itself, or nothing at all.
    """
    if engine == "funasr":
        guard.check(model)
        return
    from mlx_model.loading import FAMILIES, read_config

    path = Path(model)
    family = read_config(path).get("model_type")
    if family not in FAMILIES:
        raise ConfigError(f"{path}/config.json: model_type {family!r} is not one of {', '.join(FAMILIES)}")
    if not hasattr(importlib.import_module(f"mlx_model.models.{family}").Model, "set_tokens"):
        raise UsageError(f"{path} is a {family}, expected a model that turns speech into text; try mlx-funasr vad")


def open_recognizer(engine: str, model: str) -> Recognizer:
    """Return the recogniser of the engine of that name, its model loaded where it runs in this process.

    Args:
        engine: "mlx" or "funasr".
        model: a converted directory for mlx; for funasr whatever `parity.sides.reference` takes.

    Raises:
        UsageError: there is no engine of that name.
    """
    return {"mlx": _open_mlx, "funasr": _open_funasr}[check_engine(engine)](model)


def _open_mlx(model: str) -> Recognizer:
    from mlx_model.loading import load_as
    from mlx_model.machine.numerics import numerics
    from mlx_model.pipelines.transcribe import in_batches
    from mlx_model.roles import Recognizer as Role

    loaded = load_as(model, Role)

    def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[list[dict[str, Any]]]:
        for transcripts in in_batches(loaded, batches):
            yield [
                {"path": item.path, "text": item.text, "duration_s": item.duration_s, "error": item.error}
                for item in transcripts
            ]

    return saying(recognize, lambda: dict(numerics(loaded)))


def saying(recognizer: Recognizer, numerics: Callable[[], Mapping[str, Any]]) -> Recognizer:
    """Return a recogniser whose batches say in their first answer what computed them: `numerics`, kept in the journal.

    Each batch does, for any of them may be lost with the machine that it was on.
    """

    def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[Sequence[Mapping[str, Any]]]:
        said: Mapping[str, Any] | None = None
        for answers in recognizer(batches):
            said = said or numerics()  # of a model that has computed; it costs a few milliseconds
            yield [row if at else {**row, "numerics": said} for at, row in enumerate(answers)]

    return recognize


def _open_funasr(model: str) -> Recognizer:
    from parity.sides import reference

    return saying(lambda batches: reference.transcribe(model, batches), lambda: FUNASR)


def local(recognizer: Recognizer, recordings: Recordings) -> Engine:
    """Return the engine that runs a recogniser here, on the files that `recordings` makes of the utterances."""

    def engine(batches: Iterable[Sequence[Utterance]]) -> Generator[tuple[int, list[dict[str, Any]]], None, None]:
        waiting: list[tuple[Sequence[Utterance], list[Path | str]]] = []  # batches asked for and not yet answered

        def paths() -> Iterator[list[Path]]:
            for batch in batches:
                waiting.append((batch, [_file(item, recordings) for item in batch]))
                yield _paths(waiting[-1][1])

        for number, answers in enumerate(recognizer(paths())):
            batch, files = waiting.pop(0)
            yield number, _matched(batch, files, answers)
            for file in _paths(files):
                recordings.release(file)

    return engine


def _file(utterance: Utterance, recordings: Recordings) -> Path | str:
    """Return the utterance's file, or the reason why it has none."""
    try:
        if not utterance.path.is_file():
            raise AudioError(f"no such file: {utterance.path}")
        return recordings.path(utterance)
    except AudioError as error:
        return str(error)


def _paths(files: Sequence[Path | str]) -> list[Path]:
    return [file for file in files if isinstance(file, Path)]


def _matched(
    batch: Sequence[Utterance], files: Sequence[Path | str], answers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one answer per utterance, each checked to be the answer to its own path.

    A result shifted by one utterance would look like recognition errors, so it is refused instead.
    """
    asked = [str(path) for path in _paths(files)]
    if [str(answer["path"]) for answer in answers] != asked:
        raise ValueError(f"the recogniser gave {len(answers)} results for {len(asked)} paths, or in another order")
    found = iter(answers)
    return [
        _answer(next(found), str(file), source_name(utterance))
        if isinstance(file, Path)
        else {"text": None, "duration_s": None, "error": file}
        for utterance, file in zip(batch, files, strict=True)
    ]


def _answer(found: Mapping[str, Any], file: str, name: str) -> dict[str, Any]:
    """Return what is kept of a result; what a failed recording may have left as text (often "") is no hypothesis.

    In an error the name of a temporary file, which differs from run to run, becomes that of its source.
    """
    error = found.get("error")
    text = None if error else found.get("text")
    answer = {"text": text, "duration_s": found.get("duration_s"), "error": error and error.replace(file, name)}
    return answer | ({"numerics": found["numerics"]} if "numerics" in found else {})


def model_sha256(model: str) -> str:
    """Return a sha256 of everything a text may depend on: the model directory's files, or a hub id as it is spelt."""
    path = Path(model)
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        return hashlib.sha256(model.encode()).hexdigest()
    return directory_sha256(folder)
