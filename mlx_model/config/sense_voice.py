"""A SenseVoiceSmall's configuration: its arguments, and how its parts fit together. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mlx_model.config.parts import SenseVoiceEncoderSmallConfig, TokenizerConfig, WavFrontendConfig
from mlx_model.config.sections import MAX_SIZE, ModelConfig, Parts, Section, choice, number
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseVoiceArguments(Section):
    """Arguments of FunASR's class SenseVoiceSmall (`model_conf`, or at top level, which wins)."""

    WHERE: ClassVar[str] = "model_conf"
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "length_normalized_loss": "a training loss",
        "lsm_weight": "label smoothing of the training loss",
        "ignore_id": "masks targets of the training loss",
        "sos": "there is no decoder that would begin with it",
        "eos": "there is no decoder that would end with it",
    }
    blank_id: int = number(0, MAX_SIZE, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseVoiceConfig(ModelConfig):
    """Everything `mlx_model.load` needs of a SenseVoiceSmall."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SenseVoiceEncoderSmallConfig,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = SenseVoiceArguments
    model_type: str = choice("sense_voice", "sense_voice")
    vocab_size: int = number(1, MAX_SIZE)
    frontend: WavFrontendConfig
    encoder: SenseVoiceEncoderSmallConfig
    tokenizer: TokenizerConfig
    blank_id: int = number(0, MAX_SIZE, 0)

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        return cls(
            vocab_size=parts.vocab_size or 1,
            tokenizer=parts.tokenizer or TokenizerConfig(kind="SentencepiecesTokenizer"),
            blank_id=parts.arguments.blank_id,
            dtype=parts.dtype,
            **parts.sections,
        )

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {"encoder_conf": self.encoder.num_blocks + self.encoder.tp_blocks}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        width, heads = self.encoder.output_size, self.encoder.attention_heads
        if width % heads:
            raise ConfigError(f"encoder_conf: width {width} is not divisible by attention_heads {heads}")
        if self.blank_id >= self.vocab_size:
            raise ConfigError(f"model_conf: blank_id = {self.blank_id} is no token of {self.vocab_size}")
        if self.tokenizer.kind != "SentencepiecesTokenizer":
            raise ConfigError(f"tokenizer {self.tokenizer.kind!r} is not supported (only SentencepiecesTokenizer)")
        self.frontend.check()
        if self.frontend.output_size % 2:
            raise ConfigError(f"frontend_conf: feature width {self.frontend.output_size} must be even (sin/cos halves)")
