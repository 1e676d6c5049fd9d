"""config.yaml read the way FunASR's OmegaConf reads it, but safely: no tags, no aliases, a size limit.

Imports neither torch nor mlx.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mlx_model.errors import ConfigError, MlxFunasrError

YAML_LIMIT = 8_000_000  # bytes; the largest released config.yaml, with 8404 tokens inline, has 56 kB
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):
    """SafeLoader that refuses duplicate keys, and reads 1e-3 as a number as OmegaConf does (YAML 1.1 says text)."""

    def __init__(self, text: str):
        super().__init__(text)
        self._lines = text.split("\n")

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, (str, int, float, bool)):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not text", node.start_mark)
        repeated = next((key for key in keys if keys.count(key) > 1), None) if len(set(keys)) < len(keys) else None
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated!r} stands there twice", node.start_mark)
        for key, value in node.value:
            if key.value == "token_list" and isinstance(value, yaml.SequenceNode):
                value.value = [self._token(token) for token in value.value]
        return super().construct_mapping(node, deep=deep)

    def _token(self, node: Any) -> Any:
        """Return a vocabulary entry as text, whatever YAML takes an unquoted `2`, `no`, `null` or `-` for."""
        if isinstance(node, yaml.ScalarNode):
            text, mark = node.value, node.start_mark
        else:  # `- -` reads as a list within the list; a released config.yaml has it
            mark = node.start_mark
            text = self._lines[mark.line][mark.column :].strip()
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, mark)


# OmegaConf's own additions to YAML 1.1 (omegaconf/_utils.py::get_yaml_loader): numbers as 1e-3, and no dates.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:
         [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
        |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)
_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read_text(path: Path, limit: int, error: type[MlxFunasrError]) -> str:
    """Return the file's text (UTF-8), or raise `error` where it is larger than `limit` bytes or not text."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise error(f"{path} has {size} bytes; a file of this kind has at most {limit}")
        return path.read_text("utf-8-sig")
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 text: {problem.reason} at byte {problem.start}") from problem


def load_yaml(path: Path, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the mapping in `path`, OmegaConf's interpolations resolved.

    Args:
        path: config.yaml.
        known: top-level values that FunASR adds before it resolves interpolations.

    Raises:
        ConfigError: not YAML, not a mapping, too large, with duplicate keys, aliases, tags, or an interpolation that
            is not accepted.
    """
    text = read_text(path, YAML_LIMIT, ConfigError)
    try:
        # An alias lets a few lines grow to gigabytes, and no FunASR configuration has one.
        if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_BASE)):
            raise ConfigError(f"{path} uses YAML aliases (*name), which are not accepted; write the values out")
        document = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path} is not valid YAML: {reason}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected key: value pairs, found {type(document).__name__}")
    document = {str(key): value for key, value in document.items()}
    if "${" not in text:
        return document
    from convert.interpolation import resolve

    return resolve(document, known or {}, str(path))
