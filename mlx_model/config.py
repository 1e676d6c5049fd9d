"""The model's configuration: one frozen dataclass per config.yaml section, keys spelt as FunASR spells them.

A key is honoured (a field), accepted and dropped with a reason (TRAINING_ONLY), accepted only with the one value that
means "off" (`fixed`), or refused with the nearest known name. Must not import mlx: `inspect` reads it without a device.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from mlx_model.errors import ConfigError

# Keys that act on training only, or that FunASR itself stores and never reads.
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
    "lora_rank": "acts only where lora_list is set",
    "lora_alpha": "acts only where lora_list is set",
    "lora_dropout": "acts only where lora_list is set",
    "chunk_multiply_factor": "streaming training only",
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
    WHERE: ClassVar[str] = "config"

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
                raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, [*fields, *cls.FIXED])}")
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
            values[key] = _coerce(where, key, value, fields[key].type)
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


def _coerce(where: str, key: str, value: Any, annotation: Any) -> Any:
    """YAML says 1 where a float is meant, and nothing else is converted silently."""
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
    name = str(annotation).removesuffix(" | None")
    if value is None and str(annotation).endswith("| None"):
        return None
    if name not in kinds:
        return value
    if not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "bool"):
        raise ConfigError(f"{where}: {key} = {value!r} must be of type {name}")
    if isinstance(value, int) and name == "int" and key not in _MAY_BE_ZERO and value < 1:
        raise ConfigError(f"{where}: {key} = {value} must be at least 1")
    return float(value) if isinstance(value, int) and name == "float" else value


_MAY_BE_ZERO = {"sanm_shfit", "l_order", "r_order", "sos", "eos", "blank_id", "ignore_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFrontendConfig(Section):
    """`frontend_conf` of WavFrontend. `dither` is FunASR's setting; transcription uses 0 unless asked otherwise."""

    WHERE: ClassVar[str] = "frontend_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"snip_edges": (True,)}
    fs: int = 16000
    window: str = "hamming"
    n_mels: int = 80
    frame_length: float = 25.0  # ms
    frame_shift: float = 10.0  # ms
    lfr_m: int = 1
    lfr_n: int = 1
    dither: float = 1.0
    upsacle_samples: bool = True  # sic; scales [-1, 1] to the 16-bit range Kaldi expects
    cmvn: bool = True  # whether cmvn_shift / cmvn_scale stand in the weights (FunASR: cmvn_file given)

    @property
    def output_size(self) -> int:
        """Width of one low-frame-rate feature vector: n_mels * lfr_m."""
        return self.n_mels * self.lfr_m


@dataclass(frozen=True, slots=True, kw_only=True)
class SANMEncoderConfig(Section):
    """`encoder_conf` of SANMEncoder, defaults as in funasr/models/sanm/encoder.py."""

    WHERE: ClassVar[str] = "encoder_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "input_layer": ("pe",),
        "normalize_before": (True,),
        "concat_after": (False,),
        "positionwise_layer_type": ("linear",),
        "selfattention_layer_type": ("sanm",),
        "interctc_layer_idx": ([], None),
        "interctc_use_conditioning": (False,),
        "lora_list": (None,),
    }
    output_size: int = 256
    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 6
    kernel_size: int = 11
    sanm_shfit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerSANMDecoderConfig(Section):
    """`decoder_conf` of ParaformerSANMDecoder, defaults as in funasr/models/paraformer/decoder.py."""

    WHERE: ClassVar[str] = "decoder_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "input_layer": ("embed",),
        "wo_input_layer": (False, True),
        "use_output_layer": (True,),
        "normalize_before": (True,),
        "concat_after": (False,),
        "lora_list": (None,),
    }
    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 6
    att_layer_num: int = 6
    kernel_size: int = 21
    sanm_shfit: int | None = 0  # None means (kernel_size - 1) // 2, as in FunASR


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPredictorConfig(Section):
    """`predictor_conf` of CifPredictor (V1) and CifPredictorV2. V2 reads no threshold: it fires at integers."""

    WHERE: ClassVar[str] = "predictor_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"threshold": (1, 1.0)}
    idim: int
    l_order: int
    r_order: int
    smooth_factor: float = 1.0
    noise_threshold: float = 0.0
    tail_threshold: float | None = None  # None: 0.45 in V1, 0.0 in V2
    tail_mask: bool = True  # differs from False in FunASR's padded batches only; at batch size one they agree


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig(Section):
    """How ids become text. `kind` is FunASR's tokenizer class; the vocabulary itself lies in tokens.json."""

    WHERE: ClassVar[str] = "tokenizer"
    kind: str = "CharTokenizer"
    unk_symbol: str = "<unk>"
    space_symbol: str = "<space>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerConfig:
    """Everything `mlx_model.load` needs, as stored in config.json.

    `predictor_class` is "CifPredictor" or "CifPredictorV2". `quantization` is None or {"bits", "group_size"} in
    mlx-lm's manner; `dtype` is that of the network's weights (CMVN stays float32).
    """

    model_type: str = "paraformer"
    vocab_size: int
    frontend: WavFrontendConfig
    encoder: SANMEncoderConfig
    decoder: ParaformerSANMDecoderConfig
    predictor_class: str
    predictor: CifPredictorConfig
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    blank_id: int = 0
    sos: int = 1
    eos: int = 2
    dtype: str = "float32"
    quantization: dict[str, Any] | None = None

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SANMEncoderConfig,
        "decoder": ParaformerSANMDecoderConfig,
        "predictor": CifPredictorConfig,
        "tokenizer": TokenizerConfig,
    }
    PREDICTORS: ClassVar[tuple[str, ...]] = ("CifPredictor", "CifPredictorV2")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> ParaformerConfig:
        """Return the configuration stored in config.json.

        Raises:
            ConfigError: unknown or missing keys, or parts that do not fit together (see `check`).
        """
        known = [item.name for item in dataclasses.fields(cls)]
        for key in config:
            if key not in known:
                raise ConfigError(f"config.json: unknown key {key!r}{nearest(key, known)}")
        for key in ("vocab_size", "predictor_class", *cls.SECTIONS):
            if key not in config:
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

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        width, predictor = self.encoder.output_size, self.predictor
        if self.predictor_class not in self.PREDICTORS:
            raise ConfigError(
                f"predictor {self.predictor_class!r} is not supported (only {', '.join(self.PREDICTORS)})"
            )
        if predictor.idim != width:
            raise ConfigError(f"predictor_conf: idim = {predictor.idim} but the encoder's output_size is {width}")
        if predictor.smooth_factor - predictor.noise_threshold > 1.0:
            raise ConfigError(
                f"predictor_conf: smooth_factor {predictor.smooth_factor} lets a frame weigh more than one token, "
                "which FunASR's vectorised CIF drops silently; not supported"
            )
        for where, section in (("encoder_conf", self.encoder), ("decoder_conf", self.decoder)):
            if width % section.attention_heads:
                raise ConfigError(
                    f"{where}: width {width} is not divisible by attention_heads {section.attention_heads}"
                )
        if self.frontend.output_size % 2:
            raise ConfigError(f"frontend_conf: feature width {self.frontend.output_size} must be even (sin/cos halves)")
