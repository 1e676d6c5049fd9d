"""A CTTransformerStreaming's configuration: a CTTransformer's, with an encoder that sees the future at its end alone.

Stdlib only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlx_model.config.ct_transformer import CTTransformerArguments, CTTransformerConfig
from mlx_model.config.parts import SANMVadEncoderConfig, TokenizerConfig
from mlx_model.config.sections import Section, choice


@dataclass(frozen=True, slots=True, kw_only=True)
class CTTransformerStreamingConfig(CTTransformerConfig):
    """Everything `mlx_model.load` needs of a CTTransformerStreaming."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "encoder": SANMVadEncoderConfig,
        "marks": CTTransformerArguments,
        "tokenizer": TokenizerConfig,
    }
    model_type: str = choice("ct_transformer_streaming", "ct_transformer_streaming")
    encoder: SANMVadEncoderConfig
