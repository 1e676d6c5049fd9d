"""A report to the text of its HTML page: a pure function, without a clock, a network or another file.

Formatting and arranging only (views.py). Imports views, formatting, aligning and jinja2. Texts in a report are hostile
until escaped: autoescape is on, and only a picture (svg.Drawing, which escapes its own texts) and scripts of ours enter as
they are.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reports import aligning, cer_views, compare_views, parity_views, views
from reports import formatting as fmt

GENERATOR = "mlx-funasr report"  # the mark by which a page of ours is known and may be written again
FOOTER = "Written by mlx-funasr from the JSON document of the same name; nothing on this page was computed later."


def page(report: Any) -> str:
    """Return the whole HTML page of a report.

    Raises:
        ValueError: a field holds something that cannot be shown (an alignment that is not made of pairs).
    """
    view = views.view(report)
    template = _environment().get_template(view.template)
    return template.render(
        script=Markup(_script(view.script)) if view.script else "",
        script_hash=_script_hash(view.script) if view.script else "",
        plays=view.plays,
        report=report,
        title=views.title(report),
        headline=views.headline(report),
        generator=GENERATOR,
        footer=FOOTER,
        **views.context(report),
    )


def index_page(title: str, groups: Sequence[tuple[str, Sequence[Any], tuple[str, str] | None]]) -> str:
    """Return the index page: per kind of report its heading, its entries and the picture of its history."""
    template = _environment().get_template("index.html.jinja")
    return template.render(title=title, groups=groups, generator=GENERATOR, footer="Written by mlx-funasr.")


@functools.cache
def _script(name: str) -> str:
    """Return a script of our pages; a page says and shows all without it."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")


@functools.cache
def _script_hash(name: str) -> str:
    """Return what lets a browser run this script and no other (Content-Security-Policy)."""
    return base64.b64encode(hashlib.sha256(_script(name).encode()).digest()).decode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (
        "rate", "interval", "points", "error", "multiple", "count", "seconds", "number", "tap_difference", "visible",
        "unit", "playable", "language", "flatten", "reading",
    )  # fmt: skip
    environment.filters.update({name: getattr(fmt, name) for name in names})
    environment.filters["operation_name"] = fmt.OPERATIONS.__getitem__
    environment.filters["shape"] = lambda sizes: "various" if sizes is None else fmt.shape(sizes)
    environment.filters["align_texts"] = _align_texts
    environment.filters["align_row"] = lambda row, unit: aligning.blocks(unit, ("ref", "hyp"), row.alignment)
    environment.filters["align_both"] = compare_views.aligned
    environment.filters["named"] = parity_views.named
    environment.filters["utterance_cer"] = cer_views.utterance_cer
    environment.filters["because"] = cer_views.because
    return environment


def _align_texts(row: Any) -> list[aligning.Block]:
    """Return both texts of a parity report's utterance, one above the other."""
    return aligning.blocks("char", ("reference", "candidate"), fmt.align(row.reference_text, row.candidate_text))
