"""`mlx-funasr cer ...`: evaluate a model, score two files, compare two runs; each one call of an entry point.

mlx_funasr.py mounts it. Imports no mlx, torch or funasr.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_model.errors import UsageError
from parity.commands.report_folder import finish, report_folder
from reports.console import (
    Base,
    Checkpoint,
    Chunk,
    FamilyOptions,
    Hotwords,
    Itn,
    Json,
    Language,
    LookBack,
    Out,
    Overwrite,
    rated_bar,
)

USAGE = "MODEL DATASET | score REF HYP | compare RUN_A RUN_B"
# The options of each command, besides those of all; a model and a test set are "run".
MEANING: dict[str, set[str]] = {
    "run": {
        "engine",
        "normalize",
        "unit",
        "workers",
        "batch_seconds",
        "allow_pipes",
        "checkpoint",
        "base",
        "language",
        "itn",
        "option",
        "hotwords",
        "chunk",
        "look_back",
        "times_by",
    },
    "score": {"normalize", "unit", "format", "hotwords"},
    "compare": {"parity"},
}
TimesBy = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Streaming models: latency, too, against this aligner's times.")
]
Margins = Annotated[
    Path | None, typer.Option(help="compare: a parity run's folder, for the margins of what differs.")
]  # fmt: skip
TextFormat = Annotated[
    str | None, typer.Option(help="score: kaldi, trn, stm, ctm, json, tsv, csv or plain; told by content.")
]
NAMES = {"run": "cer MODEL DATASET", "score": "cer score", "compare": "cer compare"}


def cer_command(
    context: typer.Context,
    arguments: Annotated[list[str], typer.Argument(metavar=USAGE)],
    engine: Annotated[
        str, typer.Option(help="mlx, or funasr (the reference itself; the first argument is then SRC).")
    ] = "mlx",
    checkpoint: Checkpoint = None,
    base: Base = None,
    normalize: Annotated[
        str, typer.Option(help="Text normaliser: none, aishell, funasr, wenet, speechio, whisper-en.")
    ] = "aishell",
    unit: Annotated[str | None, typer.Option(help="char, word or mixed; the normaliser's own if left out.")] = None,
    workers: Annotated[
        str | None, typer.Option(help="So many processes, or a Ray cluster: ray://HOST:PORT, auto.")
    ] = None,
    batch_seconds: Annotated[float, typer.Option(help="At most so much audio at once (bounds memory).")] = 60.0,
    language: Language = None,
    itn: Itn = None,
    option: FamilyOptions = None,
    hotwords: Hotwords = None,
    chunk: Chunk = None,
    look_back: LookBack = None,
    times_by: TimesBy = None,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run the commands of a wav.scp.")] = False,
    parity: Margins = None,
    format: TextFormat = None,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Measure the error rate on a test set, score two text files, or compare two runs.

    A run with --out that was killed goes on with the same command.
    """
    command = arguments[0] if arguments[0] in MEANING else "run"
    _refuse_others(context, command)
    writing = {"out": out, "overwrite": overwrite}
    name = "compare.json" if command == "compare" else "cer.json"
    which = {"checkpoint": checkpoint, "base": base}
    if engine != "funasr":
        for wrong in [f"--{name}" for name, value in which.items() if value is not None]:
            raise UsageError(f"{wrong} has no meaning here: it tells which weights --engine funasr is to run")
    # What of a folder may be overwritten is decided by the entry points.
    with report_folder(out, name, overwrite=overwrite or out is not None):
        if command == "score":
            scoring = {"normalize": normalize, "unit": unit, "format": format, "hotwords": hotwords}
            report: Any = _score(arguments[1:], **scoring, **writing)
        elif command == "compare":
            report = _compare(arguments[1:], parity=parity, **writing)
        else:
            options = {"engine": engine, "normalize": normalize, "unit": unit, "workers": workers}
            opened = (lambda src: context.obj.opened(src, checkpoint, base)) if engine == "funasr" else nullcontext
            family = {"language": language, "use_itn": itn, "windows": (chunk, look_back)}
            report = _evaluate(
                arguments, opened, family, option, batch_seconds=batch_seconds, allow_pipes=allow_pipes,
                hotwords=hotwords, times_by=times_by, **options, **writing,
            )  # fmt: skip
        finish(report, out, json, passed=not getattr(report, "failed", 0))


def _refuse_others(context: typer.Context, command: str) -> None:
    """Raise UsageError where an option was given, be it with its default, that means nothing to this command."""
    meant = MEANING[command] | {"arguments", "out", "overwrite", "json"}
    for name in sorted(context.params.keys() - meant):
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            fitting = " and ".join(NAMES[other] for other, names in MEANING.items() if name in names)
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{NAMES[command]}: {option} has no meaning here; it belongs to {fitting}")


def _two(arguments: list[str], command: str, names: str) -> tuple[str, str]:
    if len(arguments) != 2:
        raise UsageError(f"{command} takes two arguments, {names}; found {len(arguments)}")
    return arguments[0], arguments[1]


def _score(arguments: list[str], **options: Any) -> Any:
    from parity.cer.files import score_files

    ref, hyp = _two(arguments, "cer score", "REF and HYP")
    return score_files(Path(ref), Path(hyp), **options)


def _compare(arguments: list[str], **options: Any) -> Any:
    from parity.cer.compare import compare

    return compare(*_two(arguments, "cer compare", "RUN_A and RUN_B"), **options)


def _evaluate(
    arguments: list[str],
    opened: Any,
    family: dict[str, Any],
    texts: list[str] | None,
    *,
    workers: str | None,
    **options: Any,
) -> Any:
    """Evaluate; `opened(src)` gives what the engine is to load."""
    from parity.cer.evaluate import evaluate

    model, dataset = _two(arguments, "cer", "MODEL and DATASET (or: cer score REF HYP, cer compare RUN_A RUN_B)")
    count = int(workers) if workers is not None and re.fullmatch("[0-9]{1,9}", workers) else workers
    family |= _windows(*family.pop("windows"))
    given = _family_options(options["engine"], model, family, texts)
    with opened(model) as loaded, rated_bar("recognising", "CER") as progress:
        return evaluate(loaded, dataset, named=model, workers=count, options=given, progress=progress, **options)


def _windows(chunk: str | None, look_back: str | None) -> dict[str, Any]:
    if chunk is None and look_back is None:
        return {}
    from mlx_model.pipelines.live_options import chunking

    return chunking(chunk, look_back)


def _family_options(engine: str, model: str, family: dict[str, Any], texts: list[str] | None) -> dict[str, Any]:
    """Return the options of the model's family, checked where this project runs it; FunASR gets them as they are."""
    if not texts and all(value is None for value in family.values()):
        return {}  # and MLX is not loaded for nothing
    from mlx_model.pipelines.options import loose_options, options_given

    if engine == "funasr":
        return loose_options(texts, **family)
    from mlx_model.loading import family_of, model_class

    return options_given(model_class(family_of(Path(model))), texts, **family)
