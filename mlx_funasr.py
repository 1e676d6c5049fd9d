"""The public face: `mlx_funasr.load`, `pipeline`, `convert`, `parity`, `cer`, ... (see PUBLIC), and the command line.

One function per command, each a call of one entry point of the folders below. No logic of its own.

Talk goes to stderr, results to stdout; `--json` prints one JSON document. Exit codes: 0 passed, 1 ran and the thing
checked failed, 2 wrong usage or bad input. Imports of the folders stand inside the commands: `transcribe` must not pay
for torch, nor `cer score` for MLX.
"""

from __future__ import annotations

import reports.start  # noqa: F401  first: somebody may press Ctrl-C during the imports that follow
from reports import ending

ending.begin()

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from convert.commands import convert_command, inspect_command, upload_command, verify_command
from mlx_model.commands.align import align
from mlx_model.commands.punctuate import punctuate
from mlx_model.commands.speakers import app as speakers_app
from mlx_model.commands.transcribe import transcribe
from mlx_model.commands.vad import vad
from mlx_model.errors import MlxFunasrError, OutputError, UsageError
from mlx_model.files.destination import claimed, reserved
from mlx_model.files.scratch import scratch, sweep
from parity.commands.bench import ManyValues, bench
from parity.commands.cer import cer_command
from parity.commands.doctor import doctor_command
from parity.commands.layers import app as parity_app
from parity.commands.speakers import score
from reports.console import (
    FamilyOptions,
    Hotwords,
    Json,
    MoreAudio,
    Overwrite,
    Sources,
    folder,
    leave,
    progress_bar,
    show_facts,
    talk,
)
from reports.streams import put

if TYPE_CHECKING:
    import parity as parity
    from convert import convert as convert
    from convert import inspect as inspect
    from mlx_model.loading import load as load
    from mlx_model.loading import pipeline as pipeline
    from parity import cer as cer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Convert FunASR speech models to MLX, and prove that nothing was lost.",
)
app.add_typer(parity_app, name="parity")
speakers_app.command(name="score")(score)
app.add_typer(speakers_app, name="speakers")

WRONG_USAGE: Any = typer.BadParameter.__base__  # click's UsageError, of the click that Typer carries
# What scripts use: the module that has it, and its name there (None: the module itself). Loaded at the first use, so
# that `import mlx_funasr` costs nothing. Nothing else of the five folders is promised to outsiders.
PUBLIC = {
    "load": ("mlx_model.loading", "load"),
    "pipeline": ("mlx_model.loading", "pipeline"),
    "convert": ("convert", "convert"),
    "inspect": ("convert", "inspect"),
    "parity": ("parity", None),
    "cer": ("parity.cer", None),
}


def __getattr__(name: str) -> Any:
    """Return a public name (see PUBLIC)."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'mlx_funasr' has no attribute {name!r}; it has {', '.join(PUBLIC)}")
    module, attribute = PUBLIC[name]
    return import_module(module) if attribute is None else getattr(import_module(module), attribute)


def _print_version(wanted: bool) -> None:
    if wanted:
        from reports.environment import project_version

        print(project_version())
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Hand down what converts on the fly; the version option leaves before any command runs."""
    context.obj = Sources(converted=_converted, opened=_opened)


app.command(name="inspect")(inspect_command)
app.command(name="convert")(convert_command)
app.command(name="upload")(upload_command)
app.command(name="verify")(verify_command)


app.command(name="transcribe")(transcribe)
app.command(name="vad")(vad)
app.command(name="align")(align)
app.command(name="punctuate")(punctuate)


@contextmanager
def _converted(src: str, model: Path | None, checkpoint: str | None = None, base: str | None = None) -> Iterator[Path]:
    """The given conversion, or one made for this run only."""
    if model is not None:
        yield model
        return
    import convert

    with scratch("model") as folder:
        convert.convert(src, folder / "model", checkpoint=checkpoint, base=base)
        yield folder / "model"


@contextmanager
def _opened(src: str, checkpoint: str | None, base: str | None) -> Iterator[Path]:
    """The directory to give to the real FunASR, see convert/opening.py."""
    from convert.opening import opened

    def tell(note: str) -> None:
        talk.print(f"note: {note}", highlight=False, soft_wrap=True)

    with opened(src, checkpoint=checkpoint, base=base, tell=tell) as directory:
        yield directory


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An unquantised conversion.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=folder, help="Directory to write; must not exist.")],
    more: MoreAudio = None,
    budget: Annotated[str, typer.Option(help="tokens=N changed, or cer=+X points, error included.")] = "tokens=0",
    audio: Annotated[list[Path] | None, typer.Option(help="Recordings, or folders of them: --audio PATH...")] = None,
    data: Annotated[str | None, typer.Option(help="Or a test set with transcripts, as `cer` takes it.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many recordings.", min=1)] = None,
    bits: Annotated[list[int] | None, typer.Option(help="Bits that may be used; repeatable [4, 6, 8].")] = None,
    group_size: Annotated[int, typer.Option(help="Weights that share a scale: 64 or 32.")] = 64,
    hotwords: Hotwords = None,
    option: FamilyOptions = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Quantise layer by layer, each to the bits that a budget on real speech allows."""
    from convert.requantize import check, requantize, write_document
    from mlx_model.loading import family_of, model_class
    from mlx_model.pipelines.options import options_given
    from parity.precision import Budget, search
    from reports.recipe_terminal import show_recipe

    wanted, levels = Budget.parse(budget), sorted(set(bits or (4, 6, 8)))
    check(model, out, levels, group_size, overwrite=overwrite)
    heard: dict[str, Any] = {"audio": [*(audio or []), *(more or [])], "data": data, "limit": limit}
    heard["options"] = options_given(model_class(family_of(model)), option, hotwords=hotwords)
    with reserved(out, apart_from=[model]):
        with progress_bar("measuring layers", 1) as advance:
            searched = search(model, wanted, **heard, levels=levels, group_size=group_size, progress=advance)
        modules = searched.found.modules
        requantize(model, out, modules, group_size=group_size, about=searched.about, overwrite=overwrite)
        measured = searched.judge(out)  # the budget again, with the layers packed
        passed = measured[wanted.kind] <= wanted.limit
        document = {**searched.document, "measured": measured, "verdict": "pass" if passed else "fail"}
        write_document(out, document)
    if not json:
        show_recipe(document, Console())
        talk.print(f"Wrote {out}, with recipe.json. {searched.about}", highlight=False)
    show_facts(document.pop("schema"), json, **document)
    leave(passed)


app.command(name="cer")(cer_command)
app.command(cls=ManyValues)(bench)
app.command(name="doctor")(doctor_command)


@app.command()
def report(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that hold report JSON.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print summaries for a pull request instead.")] = False,
    json: Json = False,
) -> None:
    """Render reports as HTML, with an index page over many.

    A report that cannot be read is named, the others are rendered, and the exit code is 1; 2 where none is left.
    """
    from reports.render import render_all, summaries

    if markdown and json:
        raise UsageError(
            "report: --json has no meaning beside --markdown, which prints Markdown; leave one of them out"
        )
    refused: list[str] = []
    try:
        pages = [] if markdown else render_all(directories, refused)
        words = summaries(directories, refused) if markdown else ""
    except (ValueError, FileNotFoundError) as error:  # reports knows no other folder, so no exception of ours
        raise UsageError(str(error)) from error
    show_facts("report/1", json, pages=[str(page) for page in pages], refused=refused)
    for line in [words] if markdown else pages if not json else []:
        put(str(line))
    for reason in refused:
        talk.print(f"not rendered: {reason}", style="red", highlight=False, soft_wrap=True)
    leave(not refused)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", parser=folder, metavar="DIR", help="Folder for the conversion and the reports.")
    ] = Path("demo-run"),
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Do the whole main job on the bundled checkpoint and speech: convert, compare, measure."""
    import convert
    from parity.commands.demonstration import prove, summarise
    from parity.commands.report_folder import rendered_pages
    from parity.demo import MODEL, SPEECH

    if os.path.lexists(out) and not overwrite:
        raise OutputError(f"{out} exists; choose another --out, or add --overwrite")
    with claimed(out, [], apart_from=[MODEL, SPEECH]):
        talk.print(f"1/4 convert   {MODEL} -> {out / 'model'}", highlight=False)
        documents: list[Any] = [convert.convert(MODEL, out / "model", overwrite=overwrite)]
        documents += prove(out / "model", out)
        pages = rendered_pages(out)
    summarise(documents, pages, json)
    leave(all(getattr(document, "verdict", "pass") == "pass" for document in documents))


def main() -> None:
    """Run the command line; whatever ends it is one line and an exit code, never a traceback (reports/ending.py)."""
    sweep()
    sys.exit(ending.run(lambda: app(standalone_mode=False), _line))


def _line(error: BaseException) -> str | None:
    """Return the line for a user's error, None for what nobody foresaw."""
    if isinstance(error, WRONG_USAGE):  # without words where only the help was wanted, which is printed by then
        where = getattr(getattr(error, "ctx", None), "command_path", "mlx-funasr")
        words: str = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        return f"error: {words} (see {where} --help)" if words else ""
    return f"error: {error}" if isinstance(error, MlxFunasrError) else None


if __name__ == "__main__":
    main()
