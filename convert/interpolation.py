"""OmegaConf's interpolations in a parsed config.yaml, resolved as FunASR resolves them: `${encoder_conf.output_size}`.

Keys (absolute, `${.relative}`, nested, inside text) and OmegaConf's own resolvers, but for `oc.env`: what a conversion
is must not depend on an environment variable. A grammar of this size is less than OmegaConf, which brings ANTLR's
runtime; the tests hold it against OmegaConf itself. Stdlib and mlx_model/errors.py only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mlx_model.errors import ConfigError

DEEPEST = 32  # interpolations within interpolations; FunASR's files have one
MOST = 200_000  # values that interpolations stand for: a few lines of them could name gigabytes
ESCAPED = re.compile(r"(\\+)(?=\$\{)")
RESOLVER = re.compile(r"\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*:")
KEY = re.compile(r"\.*(?:[^.\[\]{}$:\s]+|\[[^\[\]{}$]+\])(?:\.[^.\[\]{}$:\s]+|\[[^\[\]{}$]+\])*|\.+")
UNQUOTED = re.compile(r"\\[\\()\[\]{}:=,]|[A-Za-z0-9_/\-+.$%*@?|: \t]")  # what OmegaConf's grammar has without quotes
INTEGER = re.compile(r"[+-]?(?:0|[1-9](?:_?\d)*)$")
FLOAT = re.compile(
    r"[+-]?(?:(?:0|[1-9](?:_?\d)*)?\.\d(?:_?\d)*|(?:0|[1-9](?:_?\d)*)\.?)(?:e[+-]?\d(?:_?\d)*)?$|[+-]?(?:inf|nan)$",
    re.IGNORECASE,
)


class _Missing(Exception):  # noqa: N818  # caught within this file: a key that is not there may have a default
    """A key that an interpolation names and the file does not have."""


def resolve(document: dict[str, Any], known: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `document` with every interpolation replaced by what it stands for.

    Args:
        document: a parsed config.yaml.
        known: top-level values that FunASR adds before it resolves (`model_path`); they win over the document's.
        where: names the file in errors.

    Raises:
        ConfigError: a key that is not there, a cycle, or a resolver that is not accepted (`oc.env`).
    """
    resolver = _Resolver({**document, **known}, where)
    return {key: resolver.value((key,), item) for key, item in document.items()}


class _Resolver:
    def __init__(self, root: dict[str, Any], where: str):
        self.root, self.where = root, where
        self.running: list[tuple[Any, ...]] = []
        self.count = 0
        self.resolvers: dict[str, Callable[..., Any]] = {
            "oc.select": self._select, "oc.decode": self._decode, "oc.create": lambda _, item: item,
            "oc.deprecated": lambda path, key, *_: self.at(path, key),
            "oc.dict.keys": lambda path, key: list(self._section(path, key)),
            "oc.dict.values": lambda path, key: list(self._section(path, key).values()),
        }  # fmt: skip

    def error(self, path: tuple[Any, ...], reason: str) -> ConfigError:
        return ConfigError(f"{self.where}: {'.'.join(map(str, path))}: {reason}")

    def value(self, path: tuple[Any, ...], item: Any) -> Any:
        """Return an item of the document that stands at `path`, resolved."""
        self.count += bool(self.running)
        if self.count > MOST:
            raise self.error(path, f"interpolations make more than {MOST} values of this file; write the values out")
        if isinstance(item, dict):
            return {key: self.value((*path, key), child) for key, child in item.items()}
        if isinstance(item, list):
            return [self.value((*path, index), child) for index, child in enumerate(item)]
        if not isinstance(item, str) or "${" not in item:
            return item
        if path in self.running:
            raise self.error(path, f"{item!r} refers to itself; write the value out")
        if len(self.running) >= DEEPEST:
            raise self.error(
                path, f"{item!r}: more than {DEEPEST} interpolations within each other; write the values out"
            )
        self.running.append(path)
        try:
            return _Text(self, path, item).whole()
        except _Missing as missing:
            raise self.error(
                path, f"{item!r} names {str(missing)!r}, which is not there; write the value out"
            ) from None
        finally:
            self.running.pop()

    def at(self, path: tuple[Any, ...], key: str) -> Any:
        """Return what `key` names, seen from the node at `path`."""
        dots = len(key) - len(key.lstrip("."))
        base = path[: len(path) - dots] if dots else ()
        if dots > len(path):
            raise _Missing(key)
        steps = [step for step in re.split(r"[.\[\]]", key[dots:]) if step]
        node: Any = self.root
        place: tuple[Any, ...] = ()
        for step in (*base, *steps):
            if isinstance(node, str) and "${" in node:
                node = self.value(place, node)
            if isinstance(node, list) and str(step).isdecimal() and int(step) < len(node):
                node = dict(enumerate(node))
                step = int(step)
            elif not isinstance(node, dict) or step not in node:
                raise _Missing(key)
            node, place = node[step], (*place, step)
        return self.value(place, node)

    def _select(self, path: tuple[Any, ...], key: str, default: Any = None) -> Any:
        try:
            return self.at(path, key)
        except _Missing:
            return default

    def _decode(self, path: tuple[Any, ...], text: str | None) -> Any:
        if text is not None and not text.strip():
            raise self.error(path, "${oc.decode:...} of no text; write the value out")
        return None if text is None else _Text(self, path, text).element("")

    def _section(self, path: tuple[Any, ...], key: str) -> dict[Any, Any]:
        found = self.at(path, key)
        if not isinstance(found, dict):
            raise self.error(path, f"{key!r} is a {type(found).__name__}, expected key: value pairs")
        return found

    def call(self, path: tuple[Any, ...], name: str, arguments: list[Any]) -> Any:
        """Return what a resolver gives; refuse by name what is not OmegaConf's own, and `oc.env`."""
        if name == "oc.env":
            reason = "${oc.env:...} reads an environment variable, which is not accepted; write the value out"
            raise self.error(path, reason)
        if name not in self.resolvers:
            raise self.error(path, f"no resolver is called {name!r} (${{{name}:...}}); write the value out")
        try:
            return self.resolvers[name](path, *arguments)
        except (TypeError, AttributeError) as error:
            raise self.error(path, f"${{{name}:...}} does not take {arguments!r}; write the value out") from error


class _Text:
    """One string of the document, read from left to right."""

    def __init__(self, resolver: _Resolver, path: tuple[Any, ...], text: str):
        self.resolver, self.path, self.text, self.at = resolver, path, text, 0

    def fail(self) -> ConfigError:
        return self.resolver.error(
            self.path, f"{self.text!r} is no interpolation that OmegaConf reads; write the value out"
        )

    def whole(self) -> Any:
        """Return the value of the whole string: of any type where it is one interpolation, else text."""
        parts: list[Any] = []
        while self.at < len(self.text):
            if self.text.startswith("${", self.at):
                parts.append(self.interpolation())
            elif escaped := ESCAPED.match(self.text, self.at):  # pairs of backslashes count, an odd one escapes
                parts += ["\\" * (len(escaped[1]) // 2), "${" * (len(escaped[1]) % 2)]
                self.at = escaped.end() + 2 * (len(escaped[1]) % 2)
            else:
                parts.append(self.text[self.at])
                self.at += 1
        return parts[0] if len(parts) == 1 else "".join(map(str, parts))

    def interpolation(self) -> Any:
        """Return the value of the `${...}` that begins here."""
        self.at += 2
        if named := RESOLVER.match(self.text, self.at):
            self.at = named.end()
            arguments = self.sequence("}")
            return self.resolver.call(self.path, named[1], arguments)
        key = ""
        while self.at < len(self.text) and self.text[self.at] != "}":
            if self.text.startswith("${", self.at):
                key += str(self.interpolation())
            else:
                key += self.text[self.at]
                self.at += 1
        if self.at >= len(self.text) or not KEY.fullmatch(key.strip()):
            raise self.fail()
        self.at += 1
        return self.resolver.at(self.path, key.strip())

    def sequence(self, end: str) -> list[Any]:
        """Return elements up to the character `end`, which is passed."""
        found: list[Any] = []
        while True:
            self.blanks()
            if self.text.startswith(end, self.at) and not found:
                break
            found.append(self.element("," + end))
            if self.at >= len(self.text):
                raise self.fail()
            if self.text[self.at] == end:
                break
            self.at += 1
        self.at += 1
        return found

    def blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def element(self, ends: str) -> Any:
        """Return one element of a resolver's arguments, up to one of `ends`."""
        self.blanks()
        first = self.text[self.at : self.at + 1]
        if first == "[":
            self.at += 1
            value: Any = self.sequence("]")
        elif first == "{":
            self.at += 1
            value = self.pairs()
        elif first in ("'", '"') and first:
            value = self.quoted(first)
        else:
            return self.plain(ends)
        self.blanks()
        if self.text[self.at : self.at + 1] not in ([*ends] or [""]):
            raise self.fail()
        return value

    def pairs(self) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        self.blanks()
        while not self.text.startswith("}", self.at):
            key = self.element(":")
            self.at += 1
            found[key] = self.element(",}")
            if self.at >= len(self.text):
                raise self.fail()
            self.at += self.text[self.at] == ","
        self.at += 1
        return found

    def quoted(self, mark: str) -> str:
        self.at += 1
        parts: list[str] = []
        while self.at < len(self.text) and self.text[self.at] != mark:
            if self.text.startswith("${", self.at):
                parts.append(str(self.interpolation()))
                continue
            self.at += self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in (mark, "\\")
            parts.append(self.text[self.at : self.at + 1])
            self.at += 1
        if self.at >= len(self.text):
            raise self.fail()
        self.at += 1
        return "".join(parts)

    def plain(self, ends: str) -> Any:
        """Return what stands without quotes: text as soon as it is put together of an interpolation and more."""
        parts: list[Any] = []
        values = 0
        while self.at < len(self.text) and self.text[self.at] not in ends:
            if self.text.startswith("${", self.at):
                parts.append(self.interpolation())
                values += 1
                if len(parts) == 1 and self.ends_here(ends):
                    return parts[0]  # nothing else: of any type, a number's text stays text
            elif unquoted := UNQUOTED.match(self.text, self.at):
                parts.append(unquoted[0][-1])
                self.at = unquoted.end()
            else:
                raise self.fail()
        text = "".join(map(str, parts))
        if text.rstrip() != text and text.rstrip().endswith(":"):
            raise self.fail()  # its grammar keeps blanks behind a colon, and no others
        return text.strip() if values else _primitive(text.strip())

    def ends_here(self, ends: str) -> bool:
        """Return whether nothing but blanks stands before one of `ends`, and pass them if so."""
        before = self.at
        self.blanks()
        if found := self.text[self.at : self.at + 1] in ([*ends] or [""]):
            return found
        self.at = before
        return False


def _primitive(text: str) -> Any:
    """Return what unquoted text means in OmegaConf's grammar."""
    words = {"null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    if INTEGER.match(text):
        return int(text)
    return float(text) if FLOAT.match(text) else text
