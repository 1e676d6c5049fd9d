"""Report documents to HTML: one self-contained page each, an index page over many runs.

A page is a pure function of its JSON: formatting and arranging only (views.py), no clock, no network, no other file.
Imports schema, views, formatting and jinja2; nothing else of the project. Texts in a report are hostile until escaped:
autoescape is on, and only the strings of charts.py enter unescaped.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from reports import formatting as fmt
from reports import history, schema, views
from reports.markdown import markdown

__all__ = ["find", "index", "markdown", "page", "render", "render_all", "summaries"]

OURS = re.compile(rb'\s*\{\s*"schema":\s*"(parity|selftest|cer|conversion|bench)/\d+"')
NAMES = ("parity.json", "selftest.json", "cer.json", "conversion.json", "bench.json")
TEMPLATES = {
    "parity/1": "parity.html.jinja",
    "selftest/1": "selftest.html.jinja",
    "cer/1": "cer.html.jinja",
    "conversion/1": "conversion.html.jinja",
    "bench/1": "bench.html.jinja",
}
SORTABLE = (schema.ParityReport, schema.SelftestReport)  # reports whose page sorts and filters its table
GENERATOR = "mlx-funasr report"  # the mark by which a page of ours is known and may be written again
FOOTER = "Written by mlx-funasr from the JSON document of the same name; nothing on this page was computed later."


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
    return _write(Path(out) if out is not None else path.with_suffix(".html"), _shown(path, report))


def render_all(directories: Iterable[Path | str]) -> list[Path]:
    """Render every report in the directories (and below them) and return the pages written.

    More than one report gets an index page too, `index.html` in the first directory; it stands last in the list.

    Raises:
        FileNotFoundError: a directory is not there or holds no report.
        ValueError: a file of a report's name is not a report of this version.
    """
    roots = [Path(directory) for directory in directories]
    sources = find(roots)
    pages = [render(source) for source in sources]
    if len(pages) > 1:
        home = roots[0] if roots[0].is_dir() else roots[0].parent
        pages.append(index(roots, home / "index.html"))
    return pages


def summaries(directories: Iterable[Path | str]) -> str:
    """Return the Markdown summary of every report in the directories (and below them), for a pull request.

    Raises:
        FileNotFoundError, ValueError: as `render_all`.
    """
    return "\n\n".join(markdown(_read(source)) for source in find([Path(directory) for directory in directories]))


def index(directories: Iterable[Path | str], out: Path | str) -> Path:
    """Write an index page over every report in the directories (and below them) and return its path.

    Links are relative to `out` and lead to the page beside each JSON, whether or not it is rendered yet.
    """
    target = Path(out)
    groups: dict[str, list[Entry]] = {kind: [] for kind in views.KINDS}
    runs: dict[str, list[history.Run]] = {kind: [] for kind in history.FIGURES}
    for source in find([Path(directory) for directory in directories]):
        report = _read(source)
        kind, entry = type(report).SCHEMA, _entry(source, report, target.parent)
        groups[kind].append(entry)
        run = history.FIGURES[kind].run(report, entry.name, entry.made) if kind in history.FIGURES else None
        if run is not None and run.made:
            runs[kind].append(run)
    total = sum(len(rows) for rows in groups.values())
    filled = [
        (views.KINDS[kind], sorted(rows, key=lambda row: row.made, reverse=True), _drawn(kind, runs.get(kind, [])))
        for kind, rows in groups.items()
        if rows
    ]
    template = _environment().get_template("index.html.jinja")
    return _write(
        target,
        template.render(title=f"{total} reports", groups=filled, generator=GENERATOR, footer="Written by mlx-funasr."),
    )


def _drawn(kind: str, runs: Sequence[history.Run]) -> tuple[str, Markup] | None:
    """Return title and picture of a kind's history, or None where it has none."""
    picture = history.history_chart(history.FIGURES[kind], runs) if kind in history.FIGURES else ""
    return (history.FIGURES[kind].title, Markup(picture)) if picture else None


def find(roots: Sequence[Path]) -> list[Path]:
    """Return the report documents at or below the given paths, in a stable order, each once.

    Raises:
        FileNotFoundError: a path is not there, or no report is at or below it.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist: give a report JSON or a directory that holds some")
        here = [root] if root.is_file() else sorted(path for path in root.rglob("*.json") if _is_report(path))
        if not here:
            raise FileNotFoundError(f"{root} holds no report: expected one of {', '.join(NAMES)} in it or below it")
        for path in here:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _is_report(path: Path) -> bool:
    """Whether a file has a report's name, or begins by saying a schema of ours (as those in published/ do)."""
    if path.name in NAMES:
        return True
    with path.open("rb") as stream:
        return OURS.match(stream.read(100)) is not None


def page(report: Any) -> str:
    """Return the whole HTML page of a report.

    Raises:
        ValueError: a field holds something that cannot be shown (an alignment that is not made of pairs).
    """
    template = _environment().get_template(TEMPLATES[type(report).SCHEMA])
    context = views.context(report)
    context["chart"] = Markup(context.get("chart", ""))  # the charts escape every text they are given
    context["charts"] = {name: Markup(chart) for name, chart in context.get("charts", {}).items()}
    context["pictures"] = [(name, Markup(chart)) for name, chart in context.get("pictures", [])]
    return template.render(
        script=Markup(_script()) if isinstance(report, SORTABLE) else "",
        script_hash=_script_hash(),
        report=report,
        title=views.title(report),
        headline=views.headline(report),
        generator=GENERATOR,
        footer=FOOTER,
        **context,
    )


@functools.cache
def _script() -> str:
    """Return the one script of our pages, which sorts and filters a table; a page says and shows all without it."""
    return (Path(__file__).parent / "templates" / "table.js").read_text("utf-8")


@functools.cache
def _script_hash() -> str:
    """Return what lets a browser run this script and no other (Content-Security-Policy)."""
    return base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("rate", "interval", "error", "multiple", "count", "seconds", "number", "tap_difference", "visible")
    environment.filters.update(
        {name: getattr(fmt, name) for name in (*names, "language", "flatten", "operation", "reading")}
    )
    environment.filters["operation_name"] = fmt.OPERATIONS.__getitem__
    environment.filters["shape"] = lambda sizes: "various" if sizes is None else fmt.shape(sizes)
    environment.filters["align_texts"] = lambda row: fmt.align(row.reference_text, row.candidate_text)
    environment.filters["utterance_cer"] = views.utterance_cer
    return environment


def _read(path: Path) -> Any:
    """Return the report at `path`; every error names the path."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a report JSON or a directory that holds one")
    try:
        return schema.read(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not JSON: it is not UTF-8 text") from error
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def _shown(path: Path, report: Any) -> str:
    try:
        return page(report)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _entry(source: Path, report: Any, home: Path) -> Entry:
    place = Path(os.path.relpath(source.parent.resolve(), home.resolve())).as_posix()
    target = os.path.relpath(source.with_suffix(".html").resolve(), home.resolve())
    return Entry(
        name=_name(source, place),
        href=quote(Path(target).as_posix()),
        verdict=getattr(report, "verdict", None),
        summary=views.summary(report),
        made=str(report.environment.get("time_utc") or ""),
    )


def _name(source: Path, place: str) -> str:
    """Return what tells a run from others: its folder, and its file where that has a name of its own."""
    folder = source.parent.resolve().name if place == "." else place
    return folder if source.name in NAMES else f"{folder}/{source.stem}"


def _write(target: Path, text: str) -> Path:
    """Write a page under a temporary name and rename it when whole; a page of ours may be replaced, nothing else."""
    if target.exists():
        with target.open(encoding="utf-8", errors="replace") as stream:
            if f'content="{GENERATOR}"' not in stream.read(2000):
                raise ValueError(
                    f"{target} exists and was not written by mlx-funasr: move it away or name another place"
                )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".partial")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, target)
    return target
