"""The folder of a command's report: claimed before the command begins, with the page that will stand beside the JSON.

Stdlib, mlx_model.files.destination and reports only: what a command loads is loaded after its folder is certain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mlx_model.errors import OutputError, UsageError
from mlx_model.files.destination import StrPath, claimed
from reports.console import leave, render, rendered, show


@contextlib.contextmanager
def report_folder(
    out: Path | None, name: str, *, overwrite: bool, apart_from: Iterable[StrPath] = (), also: Sequence[str] = ()
) -> Iterator[None]:
    """The folder for the report `name` is ours until the block ends; see `claimed`. None: nothing is written.

    `also` are files that may be written over where the report may.

    Raises:
        UsageError: `overwrite` without a folder, where there is nothing to replace.
        OutputError: it holds such a report and is not to be overwritten, or somebody else's page of that name.
    """
    if out is None and overwrite:
        raise UsageError("--overwrite has no meaning without --out: nothing is written")
    with claimed(out, [name, *(also if overwrite else ())], overwrite=overwrite, apart_from=apart_from):
        if out is not None:
            from reports.render import check_page

            _ours(check_page, (out / name).with_suffix(".html"))
        yield


def finish(report: Any, out: Path | None, as_json: bool, *, passed: bool) -> NoReturn:
    """Render the report's page, show the report, and end the command: 0 where it passed, else 1."""
    pages = rendered_pages(out)
    show(report, as_json)
    rendered(pages)
    leave(passed)


def rendered_pages(out: Path | None) -> list[Path]:
    """Return the pages of all reports in a folder, written.

    Raises:
        OutputError: the folder cannot be written, or somebody else's page is in the way.
    """
    return _ours(render, out)


def _ours(call: Any, *arguments: Any) -> Any:
    """Call a function of reports, which knows no exception of ours."""
    try:
        return call(*arguments)
    except (ValueError, FileNotFoundError) as error:
        raise OutputError(str(error)) from error
