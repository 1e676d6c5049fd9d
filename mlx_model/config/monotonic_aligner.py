"""A MonotonicAligner's (fa-zh's) configuration: its arguments, and how its parts fit together. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mlx_model.config.parts import CifPredictorV3Config, SANMEncoderConfig, TokenizerConfig, WavFrontendConfig
from mlx_model.config.sections import MAX_SIZE, ModelConfig, Parts, Section, choice, number
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotonicAlignerArguments(Section):
    """Arguments of FunASR's class MonotonicAligner (`model_conf`, or at top level, which wins): it reads none."""

    WHERE: ClassVar[str] = "model_conf"
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "length_normalized_loss": "a training loss",
        "predictor_bias": "shifts the target length in training only; inference adds one token whatever it says",
        **dict.fromkeys(
            (
                "ctc_weight", "lsm_weight", "predictor_weight", "sampling_ratio", "ignore_id", "blank_id", "sos",
                "eos", "use_1st_decoder_loss",
            ),
            "a recogniser's; FunASR takes it here and never reads it",
        ),
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotonicAlignerConfig(ModelConfig):
    """Everything `mlx_model.load` needs of a MonotonicAligner. `vocab_size` is tokens.json's: no weight depends on it.

    `predictor` is that of a BiCifParaformer, of which the second head alone computes.
    """

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SANMEncoderConfig,
        "predictor": CifPredictorV3Config,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = MonotonicAlignerArguments
    model_type: str = choice("monotonic_aligner", "monotonic_aligner")
    vocab_size: int = number(1, MAX_SIZE)
    frontend: WavFrontendConfig
    encoder: SANMEncoderConfig
    predictor: CifPredictorV3Config
    tokenizer: TokenizerConfig

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        return cls(
            vocab_size=parts.vocab_size or 1,
            tokenizer=parts.tokenizer or TokenizerConfig(),
            dtype=parts.dtype,
            **parts.sections,
        )

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {"encoder_conf": self.encoder.num_blocks}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        width, heads, predictor = self.encoder.output_size, self.encoder.attention_heads, self.predictor
        if predictor.idim != width:
            raise ConfigError(f"predictor_conf: idim = {predictor.idim} but the encoder's output_size is {width}")
        predictor.check()
        if width % heads:
            raise ConfigError(f"encoder_conf: width {width} is not divisible by attention_heads {heads}")
        if self.tokenizer.kind != "CharTokenizer":
            raise ConfigError(f"tokenizer {self.tokenizer.kind!r} is not supported (only CharTokenizer)")
        self.frontend.check()
        if (self.frontend.lfr_n, self.frontend.frame_shift) != (6, 10.0):
            raise ConfigError(
                f"frontend_conf: lfr_n = {self.frontend.lfr_n}, frame_shift = {self.frontend.frame_shift:g} is not "
                "supported (only 6 and 10 ms: FunASR's times count frames of 60 ms whatever these say)"
            )
        if self.frontend.output_size % 2:
            raise ConfigError(f"frontend_conf: feature width {self.frontend.output_size} must be even (sin/cos halves)")
