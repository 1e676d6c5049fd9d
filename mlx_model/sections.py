"""What every family's configuration is made of: sections of config.yaml, and the whole as config.json stores it.

A key is honoured (a field), accepted and dropped with a reason (TRAINING_ONLY), accepted only with the one value that
means "off" (`fixed`), or refused with the nearest known name. Must not import mlx: `inspect` reads it without a device.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mlx_model.errors import ConfigError

# Keys that act on training only, or that FunASR itself takes and makes no use of.
TRAINING_ONLY: dict[str, str] = {
    "dropout_rate": "dropout acts in training only",
    "dropout": "dropout acts in training only",
    "positional_dropout_rate": "dropout acts in training only",
    "attention_dropout_rate": "dropout acts in training only",
    "self_attention_dropout_rate": "dropout acts in training only",
    "src_attention_dropout_rate": "dropout acts in training only",
    "padding_idx": "used by input_layer embed only",
    "pos_enc_class": "input_layer pe fixes the sinusoidal encoder; FunASR does not read the name",
    "positionwise_conv_kernel_size": "used by positionwise_layer_type conv1d only",
    "tf2torch_tensor_name_prefix_torch": "names of an old TensorFlow import",
    "tf2torch_tensor_name_prefix_tf": "names of an old TensorFlow import",
    "lora_list": "LoRA is merged into the weights",
    "lora_rank": "LoRA is merged into the weights",
    "lora_alpha": "LoRA is merged into the weights",
    "lora_dropout": "LoRA is merged into the weights",
    "chunk_multiply_factor": "streaming training only",
    "lsm_weight": "label smoothing of the training loss",
    "length_normalized_loss": "a training loss",
    "predictor_weight": "weight of a training loss",
    "predictor_bias": "shifts the target length in training only",
    "sampling_ratio": "of the training sampler",
    "use_1st_decoder_loss": "a training loss",
    "ignore_id": "masks targets of the training loss",
    "snr_mode": "stored by FunASR's VADXOptions, never read",
    "do_start_point_detection": "FunASR does the same either way",
    "do_end_point_detection": "FunASR does the same either way",
    "nn_eval_block_size": "overwritten by FunASR with every chunk",
    "dcd_block_size": "stored by FunASR's VADXOptions, never read",
    "speech_noise_thresh_low": "stored by FunASR's VADXOptions, never read",
    "speech_noise_thresh_high": "stored by FunASR's VADXOptions, never read",
    "output_frame_probs": "collected inside FunASR, never returned",
    "filter_length_min": "stored by FunASR's WavFrontend, never read",
    "filter_length_max": "stored by FunASR's WavFrontend, never read",
}


def nearest(key: str, known: list[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Base of the sections: `from_dict` refuses unknown keys, `to_dict` gives plain JSON types back."""

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {}  # keys accepted only with these values
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ()  # integers that need not be at least 1
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
            elif key not in TRAINING_ONLY:
                raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, [*fields, *cls.FIXED, *TRAINING_ONLY])}")
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
            values[key] = _coerce(where, key, value, fields[key].type, key in cls.MAY_BE_ZERO)
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


def _coerce(where: str, key: str, value: Any, annotation: Any, may_be_zero: bool) -> Any:
    """YAML says 1 where a float is meant, and nothing else is converted silently."""
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
    name = str(annotation).removesuffix(" | None")
    if value is None and str(annotation).endswith("| None"):
        return None
    if name not in kinds:
        return value
    if not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "bool"):
        raise ConfigError(f"{where}: {key} = {value!r} must be of type {name}")
    if isinstance(value, int) and name == "int" and not may_be_zero and value < 1:
        raise ConfigError(f"{where}: {key} = {value} must be at least 1")
    return float(value) if isinstance(value, int) and name == "float" else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a config.yaml says, parsed: the class and the section of every component, and the model's own arguments.

    `vocab_size` and `tokenizer` are None where the family has no vocabulary.
    """

    components: dict[str, str]
    sections: dict[str, Any]
    arguments: Any
    vocab_size: int | None
    tokenizer: Any
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Base of the families' configurations, as stored in config.json.

    `quantization` is None or {"bits", "group_size", "modules"} in mlx-lm's manner, `modules` a list, or {name: bits}
    where a recipe gives them different ones (`bits` is then the lowest); rows of weights are stored in whole groups,
    zeros fill the last one. `dtype` is that of the network's weights (CMVN stays float32). A family names the
    sections of its config.json (`SECTIONS`) and its arguments in config.yaml (`ARGUMENTS`).
    """

    SECTIONS: ClassVar[dict[str, type[Section]]] = {}
    ARGUMENTS: ClassVar[type[Section]] = Section
    model_type: str
    dtype: str = "float32"
    quantization: dict[str, Any] | None = None

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration of a FunASR model, its parts already parsed.

        Raises:
            ConfigError: the parts ask for what is not supported, or do not fit together.
        """
        raise NotImplementedError

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        """Return the configuration stored in config.json.

        Raises:
            ConfigError: unknown or missing keys, or parts that do not fit together (see `check`).
        """
        fields = {item.name: item for item in dataclasses.fields(cls)}
        for key in config:
            if key not in fields:
                raise ConfigError(f"config.json: unknown key {key!r}{nearest(key, list(fields))}")
        for key, item in fields.items():
            optional = item.default is not dataclasses.MISSING
            if key not in config and not optional:
                raise ConfigError(f"config.json: missing key {key!r}")
        values = dict(config)
        for key, section in cls.SECTIONS.items():
            values[key] = section.from_dict(config[key], f"config.json: {key}")
        result = cls(**values)
        result.check()
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `from_dict` restores the configuration."""
        return dataclasses.asdict(self)

    def blocks(self) -> dict[str, int]:
        """Return {config.yaml section: how many blocks it asks for}: no checkpoint has more blocks than tensors."""
        return {}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
