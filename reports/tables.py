"""What the terminal's views are made of: tables, figures, texts that nobody vouches for.

Imports rich and formatting. Every text is shown through Text objects, never as rich markup, and with control characters
made visible, so that a hostile text can neither colour, link nor move the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import formatting as fmt

MARKS = {"pass": ("✓ ", "green"), "fail": ("✕ ", "bold red")}


def text(value: str, style: str = "") -> Text:
    """Return a text as it is, in a style."""
    return Text(fmt.visible(value), style=style)


def table(first: str, numbers: Sequence[str], *texts: str) -> Table:
    """Return an empty table: a name that may fold, numbers that may not, further texts that may."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    made.add_column(text(first), overflow="fold", min_width=12)
    for name in numbers:
        made.add_column(text(name), justify="right", no_wrap=True)
    for name in texts:
        made.add_column(text(name), overflow="fold")
    return made


def stacked(name: str, *details: str) -> Text:
    """Return a name with its details on lines of their own: a reason beside it would squeeze the numbers."""
    lines = [text(name), *(text(f"  {detail}", "dim") for detail in details if detail)]
    return Text("\n").join(lines)


def figures(counters: Iterable[fmt.Figure], console: Console) -> None:
    """Print figures: label, value, what it means."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(overflow="fold")
    made.add_column(justify="right", no_wrap=True)
    made.add_column(overflow="fold", style="dim")
    for counter in counters:
        made.add_row(*map(text, counter))
    console.print(made)


def status(value: str) -> Text:
    """Return a status with its mark."""
    mark, style = MARKS.get(value, ("", "yellow"))
    return text(mark + value, style)
