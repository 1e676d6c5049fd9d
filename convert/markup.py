"""Text of strangers, made safe for where a model card puts it: Markdown, a link, a YAML value, a file's name, a hub's.

A model's name comes from its configuration, its licence from its README: whoever wrote those must not write the card.
Imports only reports.formatting.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from reports.formatting import visible

LIMIT = 200  # characters of one name; the longest of the released ones has 78
# Markdown's own characters. An underscore inside a word is none, and every name of FunASR's is full of them.
SPECIAL = re.compile(r"[\\`*{}\[\]()#!|~$@]|(?<![^\W_])_|_(?![^\W_])")
# What GitHub's dialect makes a link of, unasked.
AUTOLINK = re.compile(r"(?i)(?<=:)(?=//)|(?<=\bwww)(?=\.)")
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def plain(value: object, limit: int = LIMIT) -> str:
    """Return a text on one line of at most `limit` characters, what cannot be seen in it replaced by marks."""
    shown = "".join(char if _is_seen(char) else "\ufffd" for char in visible(str(value)[: limit + 1]))
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _is_seen(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] != "C" and category not in ("Zl", "Zp")


def text(value: object, limit: int = LIMIT) -> str:
    """Return a text in which nothing is Markdown or HTML any more, for use inside a line."""
    shown = AUTOLINK.sub(" ", plain(value, limit))
    escaped = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\g<0>", escaped)


def link(label: object, target: str) -> str:
    """Return a Markdown link to a file beside the card, or to a page whose address is known to be good."""
    safe = target if target.startswith("https://") else quote(target, errors="surrogateescape")
    return f"[{text(label)}]({safe})"


def is_hub_id(name: str) -> bool:
    """Return whether a name is a well-formed ORG/NAME of a model hub."""
    return bool(HUB_ID.fullmatch(name)) and ".." not in name and "--" not in name and not name.endswith(".git")


def file_name(name: str) -> str:
    """Return a name that every file system and hub takes, from that of a source's file."""
    return re.sub(r"[^\w.-]", "_", name)[:LIMIT]


def repository_part(name: str) -> str:
    """Return the last part of a model's name as a hub allows it, `model` where nothing is left of it."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name.rsplit("/", 1)[-1])
    kept = re.sub(r"([._-])[._-]+", r"\1", kept).strip("._-")[:80].rstrip("._-")
    return kept or "model"
