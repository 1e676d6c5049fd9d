"""`mlx-funasr bench MODEL`: one call of `parity.bench.bench`, and its table. mlx_funasr.py mounts it, as ManyValues.

Imports no mlx, torch or funasr.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mlx_model.errors import MlxFunasrError
from parity.commands.report_folder import finish, report_folder
from reports.console import Json, Out, Overwrite, folder, progress_bar
from reports.writing import write_text

TABLE = "bench.md"  # for a README, beside bench.json
MANY = ("--against", "--audio", "--seconds", "--batch", "--stages")


class ManyValues(TyperCommand):
    """A command whose options in MANY take all values that follow: `--seconds 3 10 30`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what `spread` makes of the arguments."""
        return super().parse_args(ctx, list(spread(args)))


def spread(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with an option of MANY before each of its values; `--` ends the values, too."""
    option = None
    for index, argument in enumerate(arguments):
        if argument.startswith("--"):
            option = argument if argument in MANY else None
            if option is None or index + 1 == len(arguments) or arguments[index + 1].startswith("--"):
                yield argument
        elif option is not None:
            yield from (option, argument)
        else:
            yield argument


def bench(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A converted directory; it stands before the options.")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Peers: funasr, onnxruntime, ...; all that can run if left out. On a GPU also funasr-float16, "
            "funasr-bfloat16, funasr-compiled."
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="The FunASR model, if not where the conversion found it.")] = None,
    audio: Annotated[
        list[Path] | None, typer.Option(help="Recordings or folders; the bundled speech if left out.")
    ] = None,
    seconds: Annotated[list[float] | None, typer.Option(help="Lengths of a recording: 3 10 30.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Recordings at once: 1 8 32.")] = None,
    rounds: Annotated[int, typer.Option(help="How often every side runs each case.")] = 5,
    stages: Annotated[list[str] | None, typer.Option(help="Cases: encoder, end_to_end, ...; all if left out.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of every side; all cores if left out.")] = None,
    exports: Annotated[
        Path | None, typer.Option(parser=folder, help="Folder that keeps what the peers load, for the next run.")
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Time this project beside what you would pick instead, in one run, with the results compared."""
    given = [model, *([source] if source else [])]
    with report_folder(out, "bench.json", also=[TABLE], overwrite=overwrite, apart_from=given):
        from parity.bench import run
        from reports.bench_markdown import bench_table

        with _opened(context, model, source) as opened, progress_bar("measuring", 1) as progress:
            report = run.bench(
                model, against=against, source=opened, audio=audio or (), seconds=seconds or run.SECONDS,
                batch=batch or run.BATCH, rounds=rounds, stages=stages, threads=threads, exports=exports,
                out=out, overwrite=overwrite, progress=progress,
            )  # fmt: skip
        if out is not None:
            write_text(out / TABLE, bench_table(report))
        finish(report, out, json, passed=report.verdict != "fail")


@contextmanager
def _opened(context: typer.Context, model: Path, source: str | None) -> Iterator[str | None]:
    """What FunASR is to load: the source given, or where none is, the local one that the conversion wrote down.

    One that was written down may be gone by now; then the peers that need it are absent, with the reason.
    """
    from parity.bench.plan import recorded_source

    with ExitStack() as stack:
        if source is not None:
            yield str(stack.enter_context(context.obj.opened(source, None, None)))
            return
        recorded, which = recorded_source(model)
        try:
            opened = recorded and str(stack.enter_context(context.obj.opened(recorded, *which)))
        except MlxFunasrError:
            opened = None
        yield opened
