"""A ContextualParaformer's configuration: a Paraformer's, and where hotwords' tokens are looked up. Stdlib only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mlx_model.config.paraformer import ParaformerArguments, ParaformerConfig
from mlx_model.config.parts import DROPOUT, MAX_WIDTH, ContextualParaformerDecoderConfig
from mlx_model.config.sections import Parts, Section, choice, number
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualParaformerArguments(ParaformerArguments):
    """Arguments of FunASR's class ContextualParaformer (`model_conf`, or at top level, which wins)."""

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        **ParaformerArguments.FIXED,
        "bias_encoder_type": ("lstm",),  # with "mean" FunASR has no bias_encoder, and fails where it calls it
    }
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        **ParaformerArguments.TRAINING_ONLY,
        "bias_encoder_dropout_rate": DROPOUT,
        "crit_attn_weight": "weight of a training loss",
        "crit_attn_smooth": "of a training loss",
        "target_buffer_length": "of a buffer of hotwords for training",
    }
    inner_dim: int = number(1, MAX_WIDTH, 256)
    use_decoder_embedding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualParaformerConfig(ParaformerConfig):
    """Everything `mlx_model.load` needs of a ContextualParaformer.

    `use_decoder_embedding`: hotwords' tokens are looked up in `decoder.embed`, not in a table of their own.
    """

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        **ParaformerConfig.SECTIONS,
        "decoder": ContextualParaformerDecoderConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = ContextualParaformerArguments
    model_type: str = choice("contextual_paraformer", "contextual_paraformer")
    decoder: ContextualParaformerDecoderConfig
    use_decoder_embedding: bool = False

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        given, width = parts.arguments, parts.sections["encoder"].output_size
        if given.inner_dim != width:
            raise ConfigError(
                f"model_conf: inner_dim = {given.inner_dim} but the encoder's output_size is {width}; tokens attend to "
                "hotwords as they do to frames, so both are of one width"
            )
        config = super(ContextualParaformerConfig, cls).assemble(parts)
        return dataclasses.replace(config, use_decoder_embedding=given.use_decoder_embedding)
