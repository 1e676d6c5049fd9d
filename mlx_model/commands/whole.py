"""`mlx-funasr transcribe` of recordings that are heard as wholes: models, one call of the pipeline, what is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_model.commands.telling import about, complain, listening, runtime
from reports import ending
from reports.console import progress_bar
from reports.streams import put

if TYPE_CHECKING:
    from mlx_model.files.journal import Journal
    from mlx_model.pipelines.auto import Pipeline

Given = dict[str, Any]  # options by their names on the command line


def transcribe_whole(
    model: Path,
    audio: list[Path],
    format: str,
    given: Given,
    option: list[str] | None,
    family: dict[str, Any],
    verbose: bool,
) -> None:
    """Print what recordings say; `family` are options of the recogniser's that the command line has names for."""
    from mlx_model.text import formats

    pipe = opened(model, given)
    network, words = pipe.recognizer, bool(given["--words"])
    asked = _asked(pipe, format, given, option, family)
    runtime(verbose, network)
    total = len(audio) if pipe.detector is None else _seconds(audio)
    with _kept(pipe, [model, given["--vad"], given["--speakers"]], audio, given, asked) as journal, \
            progress_bar("transcribing", total) as advance:  # fmt: skip
        results = pipe.transcribe(audio, **asked, journal=journal, progress=advance)
    if asked["times"]:
        formats.check_times("--words" if words else format, results, network.config.model_type)
    limits = formats.cue_limits(given["--cue-seconds"], given["--cue-chars"], given["--cue-chars-cjk"])
    put(formats.document(format, results, limits, words=words, **about(network, format)), as_json=format == "json")
    complain("not transcribed", results)


def opened(model: Path, given: Given) -> Pipeline:
    """Return the models that a command line names, each in its role."""
    from mlx_model.loading import load_as
    from mlx_model.pipelines.auto import Pipeline
    from mlx_model.roles import Detector, Embedder, Punctuator, Recognizer

    roles = {"--vad": Detector, "--punc": Punctuator, "--speakers": Embedder}
    network = load_as(model, Recognizer)
    others = [None if given[name] is None else _named(name, given[name], role) for name, role in roles.items()]
    return Pipeline(network, *others)


def _named(option: str, path: Path, role: type[Any]) -> Any:
    """The model of a role; an error names the option that it was given for."""
    from mlx_model.errors import UsageError
    from mlx_model.loading import load_as

    try:
        return load_as(path, role)
    except UsageError as error:
        raise UsageError(f"{option} {error}") from error


def _asked(
    pipe: Pipeline, format: str, given: Given, option: list[str] | None, family: dict[str, Any]
) -> dict[str, Any]:
    """What is asked of the pipeline, checked; what the hotwords among it have to be said of is said."""
    from mlx_model.pipelines.options import option_kinds, options_from, options_given
    from mlx_model.text import formats

    network, words, whole = pipe.recognizer, bool(given["--words"]), pipe.punctuator or pipe.embedder
    if whole and "as_funasr" not in option_kinds(network):
        family = {**family, "as_funasr": None}  # the other models follow FunASR, this one differs in nothing
    asked: dict[str, Any] = {"batch_size": given["--batch-size"], "batch_seconds": given["--batch-seconds"]}
    asked |= {"dither": given["--dither"] or 0.0, "seed": given["--seed"] or 0, "nbest": given["--nbest"] or 0}
    asked |= listening(network, options_given(network, option, **family))
    asked |= {
        "times": words or format in formats.NEED_TIMES,
        "confidence": words or format in ("json", "ctm") or given["--html"] is not None,
    }
    if pipe.detector is not None:
        dynamic = {"dynamic_silence": given["--dynamic-silence"] is not False}
        asked |= {"merge_s": given["--merge-seconds"], "vad_options": options_from(pipe.detector, dynamic)}
    if pipe.embedder is not None:
        asked |= {"num_speakers": given["--num-speakers"], "spk_mode": given["--spk-mode"] or "punc_segment"}
    return asked


def _seconds(audio: Sequence[Path]) -> int:
    from mlx_model.pipelines.long_audio import total_s

    return total_s(audio)


@contextmanager
def _kept(
    pipe: Pipeline, models: Sequence[Path | None], audio: Sequence[Path], given: Given, asked: dict[str, Any]
) -> Iterator[Journal | None]:
    """The journal of `--out`, which a run of the same models, recordings and options goes on with."""
    if given["--out"] is None:
        yield None
        return
    from mlx_model.files.journal import NAME, Journal
    from mlx_model.pipelines.resuming import SCHEMA
    from reports.environment import directory_sha256

    folder: Path = given["--out"]
    if given["--overwrite"]:
        (folder / NAME).unlink(missing_ok=True)
    options = {name: value for name, value in asked.items() if name not in ("num_speakers", "spk_mode")}
    key = {
        "models": [None if path is None else directory_sha256(path) for path in models],
        "recordings": [_print(path) for path in audio],
        "options": repr(sorted(options.items())),
    }
    with Journal(folder, key, SCHEMA) as journal, ending.going_on(lambda: _how_to_go_on(journal, folder)):
        yield journal


def _print(path: Path) -> list[Any]:
    """What tells a recording from another of its name."""
    try:
        found = path.stat()
    except OSError:
        return [str(path), None, None]
    return [str(path), found.st_size, found.st_mtime_ns]


def _how_to_go_on(journal: Journal, folder: Path) -> str:
    return f"{len(journal)} segments were heard and are kept in {folder}; the same command goes on from there"
