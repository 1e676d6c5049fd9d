"""What the command lines of all folders share: talk on stderr, documents on stdout, progress bars, exit codes.

Imports typer and rich; the report renderers only when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from reports.streams import put
from reports.writing import json_text

talk = Console(stderr=True, markup=False, emoji=False)  # a name may hold [red] or :smile:

# Options of a model's family; which of them it has is known when the model is (mlx_model/pipelines/options.py).
Language = Annotated[
    str | None, typer.Option("--language", metavar="L", help="Language of the speech, for families that can be told.")
]
Itn = Annotated[
    bool | None, typer.Option("--itn/--no-itn", help="Numbers and punctuation as they are written, where there is ITN.")
]
Hotwords = Annotated[
    str | None,
    typer.Option(
        "--hotwords", metavar="WORDS|FILE", help="Words to listen for, with blanks between; or a file, one a line."
    ),
]
FamilyOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the model's family; a wrong name lists them."),
]
Chunk = Annotated[str | None, typer.Option(metavar="L,S,R", help="Streaming models: frames of a window; 0,10,5.")]
LookBack = Annotated[str | None, typer.Option(metavar="E,D", help="Streaming models: chunks looked back at; 0,0.")]
AsFunasr = Annotated[
    bool, typer.Option("--as-funasr", help="Follow FunASR 1.4.16 also where it is wrong, where the two differ.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def folder(text: str) -> Path:
    """Return a path that was given; an empty one is a mistake in a script, not the folder one is in."""
    if not text:
        raise typer.BadParameter("is empty; expected the name of a folder")
    return Path(text)


Out = Annotated[
    Path | None, typer.Option("--out", parser=folder, metavar="DIR", help="Folder for the report (JSON and HTML).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]
SOURCE = "FunASR or trainer's folder, weights beside a config, hub id or short name."
Source = Annotated[str, typer.Argument(metavar="SRC", help=SOURCE)]
Checkpoint = Annotated[
    str | None, typer.Option("--checkpoint", metavar="NAME", help="Which weights of a folder that holds several.")
]
Base = Annotated[
    str | None,
    typer.Option("--base", metavar="MODEL_DIR|HUB_ID", help="Where files missing beside the weights come from."),
]
Audio = Annotated[list[Path], typer.Option("--audio", help="Recordings, or folders of them: --audio PATH...")]
# `--audio A B C`: a command line's options take one value each, so B and C arrive as arguments.
MoreAudio = Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", hidden=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What commands may ask of the conversion without importing it; mlx_funasr.py hands it down in the context's `obj`.

    converted(src, model, checkpoint, base): the given conversion, or one made for this run only.
    opened(src, checkpoint, base): the directory that the real FunASR is to be given for a source.
    """

    converted: Callable[..., AbstractContextManager[Path]]
    opened: Callable[..., AbstractContextManager[Path]]


def show(document: Any, as_json: bool, **options: Any) -> None:
    """Print a report: JSON on stdout, or a table for people."""
    from reports import schema, terminal

    if as_json:
        put(json_text(schema.to_dict(document)), as_json=True)
    else:
        terminal.show(document, Console(), **options)


def show_facts(schema: str, as_json: bool, **facts: Any) -> None:
    """Print the JSON document of a command that has no report of its own; nothing for people."""
    if as_json:
        put(json_text({"schema": schema, **facts}), as_json=True)


def render(out: Path | None) -> list[Path]:
    """Write the HTML of what lies in a report's folder and return the pages.

    Others' reports in it that cannot be read are named; they do not spoil a run that is done.

    Raises:
        FileNotFoundError, ValueError: see `render_all`.
    """
    if out is None:
        return []
    from reports.render import render_all

    refused: list[str] = []
    pages = render_all([out], refused)
    for reason in refused:
        talk.print(f"not rendered: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)
    return pages


def rendered(pages: Sequence[Path]) -> None:
    """Say where pages are."""
    for page in pages:
        talk.print(f"Report: {page}", highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal, silence in a pipe."""
    with stage_bars(label, total=total) as advance:
        yield lambda amount: advance(label, amount)


@contextmanager
def stage_bars(*labels: str, total: int | None = None) -> Iterator[Callable[[str, float], None]]:
    """One bar per stage of a longer job on a terminal, silence in a pipe."""
    from rich.progress import Progress

    with Progress(console=talk, disable=not talk.is_terminal, transient=True) as bar:
        tasks = {label: bar.add_task(label, total=total) for label in labels}
        yield lambda label, amount: bar.update(tasks[label], advance=amount)


@contextmanager
def rated_bar(label: str, rate: str) -> Iterator[Callable[[int, int, float], None]]:
    """A bar with the time left and a rate so far, called with (done, in all, rate); silence in a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    known = TextColumn("{task.fields[known]}")
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), known)
    with Progress(*columns, console=talk, disable=not talk.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=None, known="")
        yield lambda done, total, value: bar.update(
            task, completed=done, total=total, known=f"{rate} so far {100 * value:.2f} %" if done else ""
        )


def leave(passed: bool) -> NoReturn:
    """End the command: 0 where what was checked passed, else 1."""
    raise typer.Exit(0 if passed else 1)
