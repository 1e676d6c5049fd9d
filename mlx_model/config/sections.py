"""What every family's configuration is made of: sections of config.yaml, and the whole as config.json stores it.

A key is honoured (a field), accepted and dropped with a reason (TRAINING_ONLY), accepted only with the one value that
means "off" (FIXED), or refused with the nearest known name. Every number has a range, declared beside its field
(`number`). Stdlib only: a configuration is read, and refused, before MLX is loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mlx_model.errors import ConfigError

MAX_SIZE = 1 << 20  # no width or vocabulary is larger; stops a hostile configuration before a model is built
BITS, GROUP_SIZES = (8, 6, 4), (32, 64, 128)  # of `quantization`
INT8 = "int8"  # the mode of `quantization` in which inputs are rounded, too
DTYPES = ("float32", "float16", "bfloat16")
MISSING: Any = dataclasses.MISSING


def bounds(low: float, high: float, why: str = "") -> dict[str, Any]:
    """Return the metadata of a number's field: from `low` to `high`, both allowed; `why` where it is not obvious."""
    return {"range": (low, high), "why": why}


def number(low: float, high: float, default: Any = MISSING, why: str = "") -> Any:
    """Return a dataclass field for a number within these bounds."""
    return dataclasses.field(default=default, metadata=bounds(low, high, why))


def choice(default: Any, *allowed: str) -> Any:
    """Return a dataclass field for one of these words."""
    return dataclasses.field(default=default, metadata={"choices": allowed})


def nearest(key: str, known: list[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Base of the sections: `from_dict` refuses unknown keys, `to_dict` gives plain JSON types back."""

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {}  # keys accepted only with these values
    # Keys that act on training only, or that FunASR itself takes here and makes no use of: key -> why it is set aside.
    # Each section has its own: what one does not read may be what another computes with.
    TRAINING_ONLY: ClassVar[dict[str, str]] = {}
    WHERE: ClassVar[str] = "config"

    @classmethod
    def known(cls) -> set[str]:
        """Return the keys that are read: the fields, and those with a fixed value."""
        return {item.name for item in dataclasses.fields(cls)} | set(cls.FIXED)

    @classmethod
    def from_dict(cls, section: dict[str, Any] | None, where: str | None = None) -> Self:
        """Return the section; `where` names it in errors.

        Raises:
            ConfigError: an unknown key, a value of the wrong type, or an option that is not supported.
        """
        where = where or cls.WHERE
        if section is not None and not isinstance(section, dict):
            raise ConfigError(f"{where}: expected key: value pairs, found {type(section).__name__}")
        fields = {item.name: item for item in dataclasses.fields(cls)}
        values = {}
        for key, value in (section or {}).items():
            if key in fields:
                values[key] = value
            elif key in cls.FIXED:
                _check_fixed(where, key, value, cls.FIXED[key])
            elif key not in cls.TRAINING_ONLY:
                known = [*fields, *cls.FIXED, *cls.TRAINING_ONLY]
                raise ConfigError(f"{where}: unknown key {str(key)!r}{nearest(str(key), known)}")
            elif key.endswith(("dropout", "dropout_rate")) and value is not None:
                _in_range(where, key, value, (0.0, 1.0))
        missing = [
            name
            for name, item in fields.items()
            if name not in values
            and item.default is dataclasses.MISSING
            and item.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise ConfigError(f"{where}: missing key {missing[0]!r}")
        for key, value in values.items():
            values[key] = checked(where, key, value, fields[key])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `from_dict` restores the section."""
        return dataclasses.asdict(self)


def _check_fixed(where: str, key: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{where}: {key} = {value!r} is not supported (only {' or '.join(repr(item) for item in allowed)}); "
            "this checkpoint uses a variant of the architecture that mlx-funasr does not implement"
        )


def checked(where: str, key: str, value: Any, item: dataclasses.Field[Any]) -> Any:
    """Return a field's value, of its type and within its range; YAML says 1 where a float is meant, which is taken.

    Raises:
        ConfigError: another type, NaN or infinity, outside the range, or none of the words that are allowed.
    """
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
    name = str(item.type).removesuffix(" | None")
    if value is None and str(item.type).endswith("| None"):
        return None
    if name.startswith("list["):
        if not isinstance(value, list) or not value or len(value) > MAX_SIZE:
            raise ConfigError(f"{where}: {key} = {_shown(value)} must be a list with at least one entry")
        inner = dataclasses.field(metadata=item.metadata)
        inner.type = name[5:-1]  # pyright: ignore[reportAttributeAccessIssue]
        return [checked(where, key, entry, inner) for entry in value]
    if name not in kinds:
        return value
    if not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "bool"):
        raise ConfigError(f"{where}: {key} = {_shown(value)} must be of type {name}")
    if "choices" in item.metadata and value not in item.metadata["choices"]:
        allowed = " or ".join(item.metadata["choices"])
        raise ConfigError(f"{where}: {key} = {_shown(value)} is not supported (only {allowed})")
    if name in ("int", "float"):
        _in_range(where, key, value, item.metadata["range"], item.metadata["why"])
    return float(value) if isinstance(value, int) and name == "float" else value


def _in_range(where: str, key: str, value: Any, allowed: tuple[float, float], why: str = "") -> None:
    low, high = allowed
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{where}: {key} = {_shown(value)} must be a number")
    if not low <= value <= high:  # NaN is neither
        bound = f"at least {low:g}" if math.isinf(high) or value < low else f"from {low:g} to {high:g}"
        raise ConfigError(f"{where}: {key} = {_shown(value)} must be {bound}{f' ({why})' if why else ''}")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "an integer of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a config.yaml says, parsed: the class and the section of every component, and the model's own arguments.

    `vocab_size` and `tokenizer` are None where the family has no vocabulary. `threshold` is the one that
    configuration.json states for decisions, None where it states none.
    """

    components: dict[str, str]
    sections: dict[str, Any]
    arguments: Any
    vocab_size: int | None
    tokenizer: Any
    dtype: str
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Base of the families' configurations, as stored in config.json.

    `quantization` is None or {"bits", "group_size", "modules"} in mlx-lm's manner, `modules` a list, or {name: bits}
    where a recipe gives them different ones (`bits` is then the lowest); rows of weights are stored in whole groups,
    zeros fill the last one. Or it is {"mode": "int8", "modules"}: int8 dynamic (parts/int8.py). `dtype` is that of
    the network's other weights (CMVN stays float32). A family names the sections of its config.json (`SECTIONS`) and
    its arguments in config.yaml (`ARGUMENTS`).
    """

    SECTIONS: ClassVar[dict[str, type[Section]]] = {}
    ARGUMENTS: ClassVar[type[Section]] = Section
    model_type: str
    dtype: str = choice("float32", *DTYPES)
    quantization: dict[str, Any] | None = None

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration of a FunASR model, its parts already parsed.

        Raises:
            ConfigError: the parts ask for what is not supported, or do not fit together.
        """
        raise NotImplementedError

    @classmethod
    def from_dict(cls, config: dict[str, Any], where: str = "config.json") -> Self:
        """Return the configuration stored in config.json; `where` names it in errors.

        Raises:
            ConfigError: unknown or missing keys, values out of range, or parts that do not fit together (`check`).
        """
        fields = {item.name: item for item in dataclasses.fields(cls)}
        for key in config:
            if key not in fields:
                raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, list(fields))}")
        for key, item in fields.items():
            optional = item.default is not dataclasses.MISSING
            if key not in config and not optional:
                raise ConfigError(f"{where}: missing key {key!r}")
        values = {key: checked(where, key, value, fields[key]) for key, value in config.items()}
        for key, section in cls.SECTIONS.items():
            values[key] = section.from_dict(config[key], f"{where}: {key}")
        _check_quantization(where, values.get("quantization"))
        result = cls(**values)
        result.check_parts(where)
        return result

    def check_parts(self, where: str) -> None:
        """Raise ConfigError, which names the file, where the parts do not fit together."""
        try:
            self.check()
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `from_dict` restores the configuration."""
        return dataclasses.asdict(self)

    @property
    def precision(self) -> str:
        """The network's precision in a word: float32, float16, bfloat16, int8, or e.g. 8bit (a recipe's least)."""
        if self.quantization is None:
            return self.dtype
        return self.quantization.get("mode") or f"{self.quantization['bits']}bit"

    def blocks(self) -> dict[str, int]:
        """Return {config.yaml section: how many blocks it asks for}: no checkpoint has more blocks than tensors."""
        return {}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""


def _check_quantization(where: str, found: Any) -> None:
    """Raise ConfigError unless `found` is None or what `convert` writes: see `ModelConfig`."""
    where = f"{where}: quantization"
    if found is None:
        return
    keys = set(found) if isinstance(found, dict) else set()
    if keys not in ({"bits", "group_size", "modules"}, {"mode", "modules"}):
        raise ConfigError(f"{where} = {_shown(found)}: expected null, mode and modules, or bits, group_size, modules")
    modules, packed = found["modules"], "mode" not in keys
    kinds = (list, dict) if packed else (list,)
    if not isinstance(modules, kinds) or not modules or not all(isinstance(name, str) for name in modules):
        raise ConfigError(f"{where}: modules = {_shown(modules)} must be names of layers{', or {name: bits}' * packed}")
    if not packed:
        if found["mode"] != INT8:
            raise ConfigError(f"{where}: mode = {_shown(found['mode'])} is not supported (only {INT8!r})")
        return
    for bits in (found["bits"], *(modules.values() if isinstance(modules, dict) else ())):
        if bits not in BITS or isinstance(bits, (bool, float)):
            raise ConfigError(f"{where}: bits = {_shown(bits)} must be one of {', '.join(map(str, BITS))}")
    if found["group_size"] not in GROUP_SIZES or isinstance(found["group_size"], (bool, float)):
        sizes = ", ".join(map(str, GROUP_SIZES))
        raise ConfigError(f"{where}: group_size = {_shown(found['group_size'])} must be one of {sizes}")
