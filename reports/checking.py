"""JSON text -> the dataclasses of a report, every value of its declared type: a report may come from anywhere.

Stdlib only, and no schema of ours: schema/ says which dataclass a document is of. Every complaint is one line that
names the field, as `cer/1.worst[3].hits`; who reads a file puts its name before it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")
LARGEST = 2**63  # of a count; more digits than that are no count, and overflow a float sooner or later
NOT_FINITE = ("nan", "inf", "-inf")  # as schema.to_dict writes what JSON has no number for
SHOWN = 80  # characters of a value or a key in a message


def read_json(path: Path) -> Any:
    """Return the JSON value that a file holds; a byte order mark before it is passed over.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is not UTF-8, is not JSON, or is JSON made to break its reader.
    """
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    except json.JSONDecodeError as error:
        found = "it is empty" if not error.doc.strip() else str(error)
        raise ValueError(f"{path} is not JSON: {found}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not usable JSON: nested too deeply") from error
    except ValueError as error:  # Python's own limit
        raise ValueError(f"{path} is not usable JSON: a number is too long") from error


def build(cls: type[R], body: Mapping[str, Any], where: str) -> R:
    """Return the dataclass whose fields `body` holds.

    Raises:
        ValueError: a field is missing, surplus or not of its type, or the class's own `unfit()` says that it cannot be
            shown.
    """
    hints = _hints(cls)
    if surplus := sorted(set(body) - set(hints)):
        raise ValueError(f"{where}: unknown field {shortened(surplus[0])}")
    if missing := [name for name in _required(cls) if name not in body]:
        raise ValueError(f"{where}: field {missing[0]!r} is missing")
    built: Any = cls(**{name: checked(hints[name], item, f"{where}.{name}") for name, item in body.items()})
    if hasattr(built, "unfit") and (reason := built.unfit()):
        raise ValueError(f"{where}.{reason}")
    return built


def checked(hint: Any, value: Any, where: str) -> Any:
    """Return the value as its type hint wants it (a string "nan" as a float, an object as its dataclass).

    Raises:
        ValueError: it is of another type, or a number that is none: NaN, an infinity, one of a thousand digits.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return checked(next(item for item in arguments if item is not type(None)), value, where)
    if hint is Any:
        return _plain(value, where)
    if origin is list and isinstance(value, list):
        return [checked(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: checked(arguments[1], item, f"{where}.{_key(key)}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build(typing.cast(type, hint), value, where)
    if hint is float:
        return _number(value, where)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < LARGEST:
            return value
        raise ValueError(f"{where} is {shortened(value)}; expected a whole number from 0 on, below 2^63")
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise ValueError(f"{where} is {_found(value)}; expected {_wanted(hint)}")


def not_pairs(name: str, alignment: list[list[str | None]]) -> str:
    """Return what is wrong with an alignment, "" where it is made of [reference, hypothesis]."""
    wrong = next((place for place, pair in enumerate(alignment) if len(pair) != 2 or pair == [None, None]), None)
    return "" if wrong is None else f"{name}[{wrong}]: an alignment entry must be [reference, hypothesis]"


def no_interval(name: str, bounds: list[float] | None) -> str:
    """Return what is wrong with an interval, "" where there is none or it has its two ends."""
    return "" if bounds is None or len(bounds) == 2 else f"{name} has {len(bounds)} numbers; expected [low, high]"


def no_rectangle(name: str, rows: list[list[Any]]) -> str:
    """Return what is wrong with a picture's rows, "" where all are of one length."""
    uneven = next((place for place, row in enumerate(rows) if len(row) != len(rows[0])), None)
    return "" if uneven is None else f"{name}[{uneven}] has {len(rows[uneven])} numbers, the first {len(rows[0])}"


def shortened(value: object) -> str:
    """Return a value as a message may hold it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _key(key: str) -> str:
    return key if key.isprintable() and len(key) <= SHOWN else shortened(key)


def _number(value: Any, where: str) -> float:
    if isinstance(value, str) and value in NOT_FINITE:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where} is {_found(value)}; expected a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, which is no number of JSON; expected a number")
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        raise ValueError(f"{where} is {shortened(value)}; expected a number")
    return value


def _plain(value: Any, where: str) -> Any:
    """Return a value of which no more is known than that it is JSON."""
    if isinstance(value, float):
        return _number(value, where)
    if isinstance(value, list):
        return [_plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _plain(item, f"{where}.{_key(key)}") for key, item in value.items()}
    return value


def _found(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {shortened(value)}"
    if isinstance(value, str):
        return f"the string {shortened(value)}"
    return "a list" if isinstance(value, list) else "an object"


def _wanted(hint: Any) -> str:
    kind = typing.get_origin(hint) or hint
    words = {int: "a whole number", str: "a string", bool: "true or false", list: "a list"}
    return words.get(kind, "an object")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Field types by name; resolved once per class, as a report has thousands of rows."""
    hints = typing.get_type_hints(cls)
    return {item.name: hints[item.name] for item in dataclasses.fields(cls)}


@functools.cache
def _required(cls: type) -> list[str]:
    without = dataclasses.MISSING
    return [
        item.name for item in dataclasses.fields(cls) if item.default is without and item.default_factory is without
    ]
