"""Files that appear whole or not at all: written beside their place, then renamed. Stdlib only."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield the temporary path of a file that takes `target`'s place when the block ends well.

    Raises:
        OSError: the file system refuses; its `filename` is set, and nothing is left.
    """
    temporary = target.with_name(f"{target.name}.partial")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, os.fspath(target)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(target: Path, text: str) -> Path:
    """Write a text as UTF-8 and return its path; what is no text in a file's name is escaped, as JSON does it."""
    with replacing(target) as temporary:
        temporary.write_text(text, "utf-8", "backslashreplace")
    return target


def write_json(target: Path, document: Any) -> Path:
    """Write a JSON document and return its path."""
    return write_text(target, json_text(document) + "\n")


def json_text(document: Any) -> str:
    """Return a document as the project writes it: for people to read as well."""
    return json.dumps(document, ensure_ascii=False, indent=1)
