"""Damages of files: bytes turned over, cut off, put in, other files' content. Pure functions of bytes and a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

STRANGERS = (
    b"", b"\0" * 4096, b"<!DOCTYPE html><html><body>404</body></html>", b"PK\x03\x04garbage", b"\x80\x02}q\x00.",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"\xff\xfe" + "你好".encode("utf-16-le"),
    b"[" * 100_000, b"null", b"[]", b'{"schema": "cer/1"}', b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0",
    b"- a\n- b\n", b"a: &a [*a]\n", "键: 值\n".encode("gbk"), bytes(range(256)) * 16,
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 1e300, float("nan"), float("inf"), "", "x", "nan", [], {}, [None], {"x": {}}, "../x",
    "/etc/hostname", "a\tb\nc", "\ud800", "<script>", "[red]x", 10**40,
)  # fmt: skip


def flipped(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one to twenty bytes changed."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def truncated(content: bytes, rng: random.Random) -> bytes:
    """Return a beginning of the content."""
    return content[: rng.randrange(len(content) + 1)]


def inserted(content: bytes, rng: random.Random) -> bytes:
    """Return the content with something put in."""
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice((b"\0", b"\n", b"\xff\xfe", b"{", b"-", b"\t", content[:64])) + content[at:]


def strange(content: bytes, rng: random.Random) -> bytes:
    """Return the content of another kind of file."""
    return rng.choice(STRANGERS)


def odd_value(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON document with one value, anywhere in it, replaced or removed; other content is flipped."""
    try:
        document = json.loads(content)
    except ValueError:
        return flipped(content, rng)
    places = list(_places(document))
    if places:
        container, key = rng.choice(places)
        if rng.random() < 0.2:
            del container[key]
        else:
            container[key] = rng.choice(ODD_VALUES)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def odd_yaml(content: bytes, rng: random.Random) -> bytes:
    """Return a YAML document with one value replaced or removed."""
    import yaml

    document = yaml.safe_load(content)
    container, key = rng.choice(list(_places(document)))
    if rng.random() < 0.2:
        del container[key]
    else:
        container[key] = rng.choice([value for value in ODD_VALUES if value != "\ud800"])
    return yaml.safe_dump(document, allow_unicode=True).encode()


def _places(value: Any) -> Any:
    """Yield (container, key) of every value, but for long lists, of which the first entries stand for all."""
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for index in range(min(len(value), 5)):
            yield value, index
            yield from _places(value[index])


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, truncated, inserted, strange)


def damaged(name: str, content: bytes, rng: random.Random) -> bytes:
    """Return the content of a file called `name`, damaged in a way that suits it, or in any."""
    special = {".json": odd_value, ".jsonl": odd_value, ".yaml": odd_yaml}.get("." + name.rsplit(".", 1)[-1])
    if special is not None and rng.random() < 0.6:
        return special(content, rng)
    return rng.choice(BYTES)(content, rng)
