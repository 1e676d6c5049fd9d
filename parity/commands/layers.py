"""The commands `mlx-funasr parity run | record | check | selftest`; each is one call of an entry point of `layers`.

What converts a model on the fly, and finds what FunASR can open, comes from mlx_funasr.py in the context's `obj`
(reports/console.py::Sources): parity and convert do not import each other. Imports of MLX and of the reference stand
inside the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mlx_model.files.destination import reserved
from parity.commands.report_folder import finish, report_folder
from parity.commands.run_options import (
    AudioGiven,
    Chunk,
    ClasScale,
    Hotwords,
    LookBack,
    Text,
    Texts,
    given,
    run_options,
)
from reports.console import (
    Base,
    Checkpoint,
    Json,
    MoreAudio,
    Out,
    Overwrite,
    Source,
    folder,
    show_facts,
    stage_bars,
    talk,
)

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A converted directory.")]
Conversion = Annotated[Path | None, typer.Option(help="The conversion; made on the fly when left out.")]
Limit = Annotated[int | None, typer.Option(help="At most so many recordings or texts.", min=1)]
Taps = Annotated[
    list[str] | None, typer.Option("--taps", help="Only modules of this pattern, as encoder.encoders.*; repeatable.")
]
Steps = Annotated[bool, typer.Option("--steps/--no-steps", help="Look inside attention, feed-forward and predictor.")]
Precision = Annotated[
    list[str] | None,
    typer.Option(
        "--precision", metavar="float16|bfloat16",
        help="Run FunASR in this precision as well, to judge candidates of it by; repeatable.",
    ),
]  # fmt: skip
Invariance = Annotated[
    bool, typer.Option("--invariance/--no-invariance", help="Check batch, padding, device, compilation, format, order.")
]


app = typer.Typer(no_args_is_help=True, help="Reference against candidate, layer by layer.")


@app.command(name="run")
def run_command(
    context: typer.Context,
    src: Source,
    audio: AudioGiven = None,
    more: MoreAudio = None,
    texts: Texts = None,
    model: Conversion = None,
    out: Out = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    limit: Limit = None,
    taps: Taps = None,
    steps: Steps = True,
    invariance: Invariance = True,
    hotwords: Hotwords = None,
    clas_scale: ClasScale = None,
    text: Text = None,
    chunk: Chunk = None,
    look_back: LookBack = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run FunASR and the conversion over the same audio and compare every layer."""
    with report_folder(out, "parity.json", overwrite=overwrite, apart_from=_given(src, model)):
        from parity.layers.run import run

        recordings, said = given(audio, texts, more)
        options = run_options(
            recordings, limit, hotwords=hotwords, clas_scale=clas_scale, text=text, chunk=chunk, look_back=look_back
        )
        sides = _sides(context, src, model, checkpoint, base)
        with sides as (source, candidate), stage_bars("reference", "candidate") as progress:
            report = run(
                source, candidate, recordings, texts=said, named=src, out=out, limit=limit, taps=taps or (),
                steps=steps, invariants=invariance, options=options, progress=progress,
            )  # fmt: skip
        finish(report, out, json, passed=report.verdict == "pass")


@app.command(name="record")
def record_command(
    context: typer.Context,
    src: Source,
    trace: Annotated[Path, typer.Argument(metavar="TRACE", parser=folder, help="Folder to write; must not exist.")],
    audio: AudioGiven = None,
    more: MoreAudio = None,
    texts: Texts = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    limit: Limit = None,
    taps: Taps = None,
    steps: Steps = True,
    precision: Precision = None,
    hotwords: Hotwords = None,
    clas_scale: ClasScale = None,
    text: Text = None,
    chunk: Chunk = None,
    look_back: LookBack = None,
    json: Json = False,
) -> None:
    """Record FunASR's side once (needs torch and funasr), to be checked elsewhere with `parity check`."""
    recordings, said = given(audio, texts, more)
    with (
        reserved(trace, apart_from=[src]),
        context.obj.opened(src, checkpoint, base) as source,
        stage_bars("reference") as progress,
    ):
        from parity.layers.run import record

        recorded = record(
            source, trace, recordings, texts=said, named=src, limit=limit, taps=taps or (), steps=steps,
            halves=precision or (),
            options=run_options(
                recordings, limit, hotwords=hotwords, clas_scale=clas_scale, text=text, chunk=chunk, look_back=look_back
            ),
            progress=lambda done: progress("reference", done),
        )  # fmt: skip
    size = sum(path.stat().st_size for path in trace.iterdir()) / 1e6
    talk.print(
        f"Recorded {len(recorded.utterances)} utterances, {size:.1f} MB. "
        f"Next, on any machine with MLX: mlx-funasr parity check MODEL {trace}",
        highlight=False,
    )
    show_facts("record/1", json, trace=str(trace), utterances=len(recorded.utterances), megabytes=round(size, 3))


@app.command(name="check")
def check_command(
    model: Model,
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="What `parity record` wrote.")],
    out: Out = None,
    taps: Taps = None,
    invariance: Invariance = True,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare a conversion with a recorded trace; needs neither torch nor funasr."""
    with report_folder(out, "parity.json", overwrite=overwrite, apart_from=[model, trace]):
        from parity.layers.run import check

        with stage_bars("candidate") as progress:
            report = check(
                model, trace, out=out, taps=taps or (), invariants=invariance,
                progress=lambda done: progress("candidate", done),
            )  # fmt: skip
        finish(report, out, json, passed=report.verdict == "pass")


@app.command(name="selftest")
def selftest_command(
    context: typer.Context,
    src: Source,
    audio: AudioGiven = None,
    more: MoreAudio = None,
    texts: Texts = None,
    model: Conversion = None,
    out: Out = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    limit: Limit = 3,
    hotwords: Hotwords = None,
    clas_scale: ClasScale = None,
    text: Text = None,
    chunk: Chunk = None,
    look_back: LookBack = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Seed faults into the healthy conversion, one by one, and show whether each is caught and where."""
    with report_folder(out, "selftest.json", overwrite=overwrite, apart_from=_given(src, model)):
        from parity.layers.selftest import selftest

        recordings, said = given(audio, texts, more)
        options = run_options(
            recordings, limit, hotwords=hotwords, clas_scale=clas_scale, text=text, chunk=chunk, look_back=look_back
        )
        sides = _sides(context, src, model, checkpoint, base)
        with sides as (source, candidate), stage_bars("reference", "faults") as progress:
            report = selftest(
                source, candidate, recordings, texts=said, named=src, out=out, limit=limit, options=options,
                progress=progress,
            )  # fmt: skip
        finish(report, out, json, passed=report.verdict == "pass")


@contextmanager
def _sides(
    context: typer.Context, src: str, model: Path | None, checkpoint: str | None, base: str | None
) -> Iterator[tuple[Path, Path]]:
    """Yield what FunASR opens and the conversion of it, of the options that `run` and `selftest` share."""
    obj = context.obj
    with obj.opened(src, checkpoint, base) as source, obj.converted(src, model, checkpoint, base) as candidate:
        yield source, candidate


def _given(src: str, model: Path | None) -> list[str | Path]:
    """Return what a report must not be written into."""
    return [src] if model is None else [src, model]
