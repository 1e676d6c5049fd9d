"""Report documents to HTML files: one self-contained page each beside its JSON, an index page over many runs.

Finds, reads and writes files; what stands on a page is pages.py's. Imports schema, views, pages and history; nothing
else of the project.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import jinja2

from reports import history, schema, views
from reports.markdown import markdown
from reports.pages import GENERATOR, index_page, page
from reports.writing import write_text

__all__ = ["find", "index", "markdown", "page", "render", "render_all", "summaries"]

OURS = re.compile(rb'\s*\{\s*"schema":\s*"(parity|selftest|cer|cer_compare|conversion|bench|meeting)/\d+"')
NAMES = ("parity.json", "selftest.json", "cer.json", "compare.json", "conversion.json", "bench.json", "meeting.json")


UNSHOWABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, jinja2.TemplateError)
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the index page."""

    name: str
    href: str
    verdict: str | None
    summary: str
    made: str


def render(source: Path | str, out: Path | str | None = None) -> Path:
    """Write the HTML page of one report and return its path.

    Args:
        source: a report JSON, or a directory that holds exactly one.
        out: where to write; by default beside the JSON under its name with `.html`. A page that mlx-funasr wrote is
            replaced, any other file is not.

    Raises:
        FileNotFoundError: there is no report at `source`.
        ValueError: it is none of ours, the directory holds several, or `out` is somebody else's file.
    """
    path = Path(source)
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} holds no report: expected one of {', '.join(NAMES)}")
        if len(found) > 1:
            names = ", ".join(item.name for item in found)
            raise ValueError(
                f"{path} holds {len(found)} reports ({names}): name one of them, or render all with an index"
            )
        path = found[0]
    report = _read(path)
    return _write(Path(out) if out is not None else path.with_suffix(".html"), _shown(path, page, report))


def render_all(directories: Iterable[Path | str], refused: list[str] | None = None) -> list[Path]:
    """Render every report in the directories (and below them) and return the pages written.

    More than one report gets an index page too, `index.html` in the first directory; it stands last in the list.

    Args:
        directories: folders that hold reports, or reports.
        refused: gets a line on every report that cannot be rendered, where others can; without it the first one raises.

    Raises:
        FileNotFoundError: a directory is not there or holds no report.
        ValueError: a file of a report's name is not a report of this version, or a page cannot be written.
    """
    roots = [Path(directory) for directory in directories]
    pages: dict[Path, Path] = dict(_each(find(roots), render, refused))
    if len(pages) < 2:
        return list(pages.values())
    home = roots[0] if roots[0].is_dir() else roots[0].parent
    return [*pages.values(), _index(list(pages), home / "index.html")]


def summaries(directories: Iterable[Path | str], refused: list[str] | None = None) -> str:
    """Return the Markdown summary of every report in the directories (and below them), for a pull request.

    Args and Raises:
        as `render_all`.
    """
    sources = find([Path(directory) for directory in directories])
    return "\n\n".join(text for _, text in _each(sources, lambda path: _shown(path, markdown, _read(path)), refused))


def _each(sources: Sequence[Path], make: Callable[[Path], R], refused: list[str] | None) -> Iterator[tuple[Path, R]]:
    """Yield each source with what was made of it; those of which nothing can be made are named in `refused`."""
    left = len(sources)
    for source in sources:
        try:
            yield source, make(source)
        except (FileNotFoundError, ValueError) as error:
            left -= 1
            if refused is None or not left:
                raise
            refused.append(str(error))


def index(directories: Iterable[Path | str], out: Path | str) -> Path:
    """Write an index page over every report in the directories (and below them) and return its path.

    Links are relative to `out` and lead to the page beside each JSON, whether or not it is rendered yet.
    """
    return _index(find([Path(directory) for directory in directories]), Path(out))


def _index(sources: Sequence[Path], target: Path) -> Path:
    groups: dict[str, list[Entry]] = {kind: [] for kind in views.VIEWS}
    runs: dict[str, list[history.Run]] = {kind: [] for kind in history.FIGURES}
    for source in sources:
        report = _read(source)
        kind, entry = type(report).SCHEMA, _shown(source, partial(_entry, source, target.parent), report)
        groups[kind].append(entry)
        run = _shown(source, partial(_run, entry), report)
        if run is not None and run.made:
            runs[kind].append(run)
    total = sum(len(rows) for rows in groups.values())
    filled = [
        (views.VIEWS[kind].kind, sorted(rows, key=lambda row: row.made, reverse=True), _drawn(kind, runs.get(kind, [])))
        for kind, rows in groups.items()
        if rows
    ]
    return _write(target, index_page(f"{total} reports", filled))


def _run(entry: Entry, report: Any) -> history.Run | None:
    """Return what the history draws of a report, None where its kind has none."""
    figure = history.FIGURES.get(type(report).SCHEMA)
    return None if figure is None else figure.run(report, entry.name, entry.made)


def _drawn(kind: str, runs: Sequence[history.Run]) -> tuple[str, str] | None:
    """Return title and picture of a kind's history, or None where it has none."""
    picture = history.history_chart(history.FIGURES[kind], runs) if kind in history.FIGURES else ""
    return (history.FIGURES[kind].title, picture) if picture else None


def find(roots: Sequence[Path]) -> list[Path]:
    """Return the report documents at or below the given paths, in a stable order, each once.

    Raises:
        FileNotFoundError: a path is not there, or no report is at or below it.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        if not os.path.exists(root):
            raise FileNotFoundError(f"{root} {_absent(root)}: give a report JSON or a directory that holds some")
        if not os.path.isdir(root):
            here = [root]
        elif os.access(root, os.R_OK | os.X_OK):
            here = sorted(path for path in root.rglob("*.json") if _is_report(path))
        else:
            raise ValueError(f"{root} cannot be read: Permission denied")
        if not here:
            raise FileNotFoundError(f"{root} holds no report: expected one of {', '.join(NAMES)} in it or below it")
        for path in here:
            found.setdefault(Path(os.path.realpath(path)), path)  # resolve() raises where links go round
    return list(found.values())


def _absent(path: Path) -> str:
    """Return why nothing is at a path: "does not exist", or a name too long, a loop of links."""
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return "does not exist"


def _is_report(path: Path) -> bool:
    """Whether a file has a report's name, or begins by saying a schema of ours (as those in published/ do)."""
    if path.name in NAMES:
        return not path.is_dir()
    if not path.is_file():  # a folder of such a name, a pipe
        return False
    try:
        with path.open("rb") as stream:
            return OURS.match(stream.read(100).removeprefix(codecs.BOM_UTF8)) is not None
    except OSError:  # somebody else's, then
        return False


def _read(path: Path) -> Any:
    """Return the report at `path`; every error names the path."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} {_absent(path)}: give a report JSON or a directory that holds one")
    return schema.read(path)


def _shown(path: Path, show: Callable[[Any], R], report: Any) -> R:
    """Return what `show` makes of a report that was read from `path`.

    Types and shapes are the schema's matter. What it cannot know (a free-form row of a report that somebody else wrote)
    comes out here, and names the file.
    """
    try:
        return show(report)
    except UNSHOWABLE as error:
        reason = str(error) if type(error) is ValueError else f"it cannot be shown ({type(error).__name__}: {error})"
        raise ValueError(f"{path}: {' '.join(reason.split())}") from error


def _entry(source: Path, home: Path, report: Any) -> Entry:
    place = Path(os.path.relpath(source.parent.resolve(), home.resolve())).as_posix()
    target = os.path.relpath(source.with_suffix(".html").resolve(), home.resolve())
    return Entry(
        name=_name(source, place),
        href=quote(os.fsencode(Path(target).as_posix())),
        verdict=getattr(report, "verdict", None),
        summary=views.summary(report),
        made=str(report.environment.get("time_utc") or ""),
    )


def _name(source: Path, place: str) -> str:
    """Return what tells a run from others: its folder, and its file where that has a name of its own."""
    folder = source.parent.resolve().name if place == "." else place
    return folder if source.name in NAMES else f"{folder}/{source.stem}"


def check_page(target: Path) -> None:
    """Raise ValueError where something stands in a page's place that is no page of ours."""
    if not os.path.lexists(target):
        return
    head = ""
    if target.is_file():
        with target.open(encoding="utf-8", errors="replace") as stream:
            head = stream.read(2000)
    if f'content="{GENERATOR}"' not in head:
        raise ValueError(f"{target} exists and was not written by mlx-funasr: move it away or name another place")


def _write(target: Path, text: str) -> Path:
    """Write a page, whole or not at all; a page of ours may be replaced, nothing else."""
    try:
        check_page(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return write_text(target, text)
    except OSError as error:
        reason = f"{error.strerror or error}; name a folder that can be written"
        raise ValueError(f"{target} cannot be written: {reason}") from error
