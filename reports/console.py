"""What the command lines of all folders share: talk on stderr, documents on stdout, progress bars, exit codes.

Imports typer and rich; the report renderers only when they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

talk = Console(stderr=True, markup=False, emoji=False)  # a name may hold [red] or :smile:

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the report (JSON and HTML).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]
Source = Annotated[str, typer.Argument(metavar="SRC", help="FunASR directory, model.pt beside its config, or hub id.")]
Audio = Annotated[list[Path], typer.Option("--audio", help="Recordings, or folders of them: --audio PATH...")]
# `--audio A B C`: a command line's options take one value each, so B and C arrive as arguments.
MoreAudio = Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", hidden=True)]


def show(document: Any, as_json: bool, **options: Any) -> None:
    """Print a report: JSON on stdout, or a table for people."""
    from reports import schema, terminal

    if as_json:
        print(json.dumps(schema.to_dict(document), ensure_ascii=False, indent=1))
    else:
        terminal.show(document, Console(), **options)


def show_facts(schema: str, as_json: bool, **facts: Any) -> None:
    """Print the JSON document of a command that has no report of its own; nothing for people."""
    if as_json:
        print(json.dumps({"schema": schema, **facts}, ensure_ascii=False, indent=1))


def rendered(out: Path | None) -> None:
    """Write the HTML of what lies in a report's folder, and say where."""
    if out is not None:
        from reports.render import render_all

        refused: list[str] = []
        try:
            pages = render_all([out], refused)
        except (ValueError, FileNotFoundError) as error:  # the run itself is done, and its JSON written
            pages, refused = [], [str(error)]
        for page in pages:
            talk.print(f"Report: {page}", highlight=False, soft_wrap=True)
        for reason in refused:
            talk.print(f"not rendered: {reason}", style="red", highlight=False, soft_wrap=True)


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
