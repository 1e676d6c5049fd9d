"""File names as results and messages may hold them. A name is bytes, and need not be text. Stdlib only."""

from __future__ import annotations

import os


def written(name: str | os.PathLike[str]) -> str:
    r"""Return the name as results (json, tsv) hold it: Unicode that every encoder of UTF-8 takes.

    A byte that is not UTF-8 is written as four characters, `\xff` (Python's backslashreplace); everything else stands
    as it is. A name that really holds these four characters looks the same.
    """
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:  # half a surrogate pair, which is no file's name
        encoded = os.fspath(name).encode("utf-8", "backslashreplace")
    return encoded.decode("utf-8", "backslashreplace")


def shown(name: str | os.PathLike[str]) -> str:
    r"""Return the name as a message holds it, on one line: `written`, quoted where something would not be seen.

    Line breaks, tabs and what else has no picture of its own appear as `\n`, `\t`, `\x1b`, as in a Python string.
    """
    text = written(name)
    if text.isprintable() and text == text.strip() and text:
        return text
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text) + "'"
