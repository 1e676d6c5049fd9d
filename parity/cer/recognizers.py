"""Who transcribes: the MLX model, the real FunASR, or a callable of the caller's, all behind one interface.

Both engines are imported inside the functions that open them: importing this file must load neither mlx nor torch nor
funasr. The mlx engine needs mlx_model, the funasr engine parity.sides.reference (a process of its own).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_model.errors import AudioError, UsageError
from mlx_model.text.confidence import of_characters
from mlx_model.text.rich import plain_text
from parity.cer.datasets import Utterance
from parity.cer.parts import source_name
from parity.cer.recordings import Recordings
from parity.sides import guard
from parity.sides.hotwords import of_ours
from reports.environment import directory_sha256

# Batches of paths in; for each batch, in order, one mapping per path with fields of `transcribe --json`: path, text
# (None where there is none), duration_s, error (None or one line); and, where the engine knows them, `confidences` of
# the text's characters, white space left out.
Recognizer = Callable[[Iterable[Sequence[Path]]], Iterator[Sequence[Mapping[str, Any]]]]
# Batches of utterances in; out, in any order, the batch's number and one answer per utterance: text, duration_s, error,
# and rtf where the engine has timed itself, confidences where it knows them.
Engine = Callable[[Iterable[Sequence[Utterance]]], Generator[tuple[int, list[dict[str, Any]]], None, None]]
Probe = Callable[[Utterance, Path], Mapping[str, Any]]  # see latency.py
Options = Mapping[str, Any] | None  # of the model's family, by their names

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


def check_model(engine: str, model: str, options: Options = None) -> None:
    """Look at the model before anything is written or started: is it there, and of the kind that the engine takes?

    And has its family the options that are asked for? FunASR itself takes any, and leaves out what it does not know.

    Raises:
        ConfigError: the mlx engine is given no conversion; a FunASR directory has no configuration, or a hostile one.
        UsageError: a conversion that writes no text, one for FunASR itself, or nothing at all; an option that the
            family does not have.
    """
    if engine == "funasr":
        guard.check(model)
        return
    from mlx_model import roles
    from mlx_model.loading import family_of, model_class
    from mlx_model.pipelines.options import options_from

    family = family_of(Path(model))
    roles.check_role(model_class(family), roles.Recognizer, model, family)
    options_from(model_class(family), options or {})


def said_of_hotwords(engine: str, model: str, options: Options) -> list[str]:
    """Return what a conversion says of the hotwords among the options, as those that it has no tokens for.

    Raises:
        UsageError: a list that the model cannot take.
    """
    if engine != "mlx" or not options or "hotwords" not in options:
        return []
    from mlx_model.loading import unread
    from mlx_model.pipelines.options import options_from

    found = unread(Path(model))
    return [*found.hotwords(options_from(found, {"as_funasr": True, **of_ours(options)})).notes]


def open_recognizer(engine: str, model: str, options: Options = None) -> Recognizer:
    """Return the recogniser of the engine of that name, its model loaded where it runs in this process.

    Args:
        engine: "mlx" or "funasr".
        model: a converted directory for mlx; for funasr whatever `parity.sides.reference` takes.
        options: of the model's family, by their names (FunASR's own).

    Raises:
        UsageError: there is no engine of that name.
    """
    return {"mlx": _open_mlx, "funasr": _open_funasr}[check_engine(engine)](model, options or {})


def _open_mlx(model: str, options: Mapping[str, Any]) -> Recognizer:
    from mlx_model import roles
    from mlx_model.loading import load_as
    from mlx_model.machine.numerics import numerics
    from mlx_model.pipelines.options import option_kinds, options_from
    from mlx_model.pipelines.transcribe import in_batches

    loaded = load_as(model, roles.Recognizer)
    # Both engines give what FunASR gives: one that shows emotions as emojis would be charged with them.
    as_funasr = {"as_funasr": True} if "as_funasr" in option_kinds(loaded) else {}
    chosen = options_from(loaded, {**as_funasr, **of_ours(options)})

    def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[list[dict[str, Any]]]:
        for transcripts in in_batches(loaded, batches, options=chosen, confidence=True):
            yield [
                {"path": item.path, "text": item.text, "duration_s": item.duration_s, "error": item.error}
                | _sureness(item.token_ids, item.confidences, loaded.tokenizer.tokens)
                for item in transcripts
            ]

    return saying(recognize, lambda: dict(numerics(loaded)))


def _sureness(
    token_ids: Sequence[int], confidences: Sequence[float] | None, tokens: Sequence[str]
) -> dict[str, list[float]]:
    """How sure the model is of each character, to the four digits that calibration.py counts by."""
    if confidences is None:
        return {}
    found = of_characters([tokens[token] for token in token_ids], confidences)
    return {"confidences": [round(value, 4) for value in found]}


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


def _open_funasr(model: str, options: Mapping[str, Any]) -> Recognizer:
    from parity.sides import reference

    return saying(lambda batches: reference.transcribe(model, batches, options), lambda: FUNASR)


def local(recognizer: Recognizer, recordings: Recordings, probe: Probe | None = None) -> Engine:
    """Return the engine that runs a recogniser here, on the files that `recordings` makes of the utterances.

    What a probe finds out about a recording stands in its answer, too.
    """

    def engine(batches: Iterable[Sequence[Utterance]]) -> Generator[tuple[int, list[dict[str, Any]]], None, None]:
        waiting: list[tuple[Sequence[Utterance], list[Path | str]]] = []  # batches asked for and not yet answered

        def paths() -> Iterator[list[Path]]:
            for batch in batches:
                waiting.append((batch, [_file(item, recordings) for item in batch]))
                yield _paths(waiting[-1][1])

        for number, answers in enumerate(recognizer(paths())):
            batch, files = waiting.pop(0)
            found = _matched(batch, files, answers)
            if probe is not None:
                for answer, item, file in zip(found, batch, files, strict=True):
                    answer |= probe(item, file) if isinstance(file, Path) else {}
            yield number, found
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
    """Return what is kept of a result: its words, without the tags (`<|zh|>`) that some models write among them.

    What a failed recording may have left as text (often "") is no hypothesis.

    In an error the name of a temporary file, which differs from run to run, becomes that of its source.
    """
    error = found.get("error")
    text = found.get("text")
    text = None if error else plain_text(text) if isinstance(text, str) and "<|" in text else text
    answer = {"text": text, "duration_s": found.get("duration_s"), "error": error and error.replace(file, name)}
    return answer | {name: found[name] for name in ("confidences", "numerics") if name in found}


def model_sha256(model: str) -> str:
    """Return a sha256 of everything a text may depend on: the model directory's files, or a hub id as it is spelt."""
    path = Path(model)
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        return hashlib.sha256(model.encode()).hexdigest()
    return directory_sha256(folder)
