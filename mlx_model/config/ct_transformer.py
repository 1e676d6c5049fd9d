"""A CTTransformer's (ct-punc's) configuration: its arguments, and how its parts fit together. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mlx_model.config.parts import MAX_WIDTH, NO_MARK, UNKNOWN_MARK, TextEncoderConfig, TokenizerConfig
from mlx_model.config.sections import MAX_SIZE, ModelConfig, Parts, Section, choice, number
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CTTransformerArguments(Section):
    """Arguments of FunASR's class CTTransformer (`model_conf`, or at top level, which wins).

    `punc_list[i]` is the mark that label i stands for.
    """

    WHERE: ClassVar[str] = "model_conf"
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "punc_weight": "weighs the labels in the training loss",
        "dropout_rate": "dropout acts in training only",
        "ignore_id": "the label that the training loss leaves out",
        "sos": "stored by FunASR's CTTransformer, never read",
        "eos": "stored by FunASR's CTTransformer, never read",
    }
    punc_list: list[str]
    embed_unit: int = number(2, MAX_WIDTH, 128)
    att_unit: int = number(1, MAX_WIDTH, 256)
    sentence_end_id: int = number(0, 1000, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class CTTransformerConfig(ModelConfig):
    """Everything `mlx_model.load` needs of a CTTransformer."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "encoder": TextEncoderConfig,
        "marks": CTTransformerArguments,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = CTTransformerArguments
    model_type: str = choice("ct_transformer", "ct_transformer")
    vocab_size: int = number(1, MAX_SIZE)
    encoder: TextEncoderConfig
    marks: CTTransformerArguments
    tokenizer: TokenizerConfig

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        return cls(
            vocab_size=parts.vocab_size or 1,
            tokenizer=parts.tokenizer or TokenizerConfig(),
            marks=parts.arguments,
            dtype=parts.dtype,
            **parts.sections,
        )

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {"encoder_conf": self.encoder.num_blocks}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        encoder, marks = self.encoder, self.marks
        for key, ours, other, theirs in (
            ("embed_unit", marks.embed_unit, "input_size", encoder.input_size),
            ("att_unit", marks.att_unit, "output_size", encoder.output_size),
        ):
            if ours != theirs:
                raise ConfigError(f"model_conf: {key} = {ours} but the encoder's {other} is {theirs}")
        if encoder.output_size % encoder.attention_heads:
            raise ConfigError(
                f"encoder_conf: width {encoder.output_size} is not divisible by attention_heads "
                f"{encoder.attention_heads}"
            )
        if encoder.input_size % 2:
            raise ConfigError(f"encoder_conf: input_size = {encoder.input_size} must be even (sin/cos halves)")
        if self.tokenizer.kind != "CharTokenizer":
            raise ConfigError(f"tokenizer {self.tokenizer.kind!r} is not supported (only CharTokenizer)")
        self._check_marks()

    def _check_marks(self) -> None:
        found, end = self.marks.punc_list, self.marks.sentence_end_id
        if NO_MARK not in found:
            raise ConfigError(f"model_conf: punc_list = {found} has no {NO_MARK!r}, which stands for no mark")
        if len(set(found)) != len(found) or not all(found):
            raise ConfigError(f"model_conf: punc_list = {found} must be different texts, none of them empty")
        if end >= len(found) or found[end] in (NO_MARK, UNKNOWN_MARK):
            raise ConfigError(f"model_conf: sentence_end_id = {end} must name a mark of punc_list = {found}")
