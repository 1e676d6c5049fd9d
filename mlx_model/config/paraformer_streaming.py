"""A ParaformerStreaming's configuration: a Paraformer's, whose encoder and front end take windows. Stdlib only.

An offline Paraformer has the same tensors, name by name and shape by shape. Five keys of config.yaml tell the two
apart, and have to agree: `model`, `encoder`, its `input_layer`, `frontend`, and the decoder's `sanm_shfit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mlx_model.config.paraformer import ParaformerArguments, ParaformerConfig
from mlx_model.config.parts import (
    CifPredictorConfig,
    ParaformerSANMDecoderConfig,
    SANMEncoderChunkOptConfig,
    TokenizerConfig,
    WavFrontendStackedConfig,
)
from mlx_model.config.sections import Section, choice
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerStreamingArguments(ParaformerArguments):
    """Arguments of FunASR's class ParaformerStreaming (`model_conf`, or at top level, which wins)."""

    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        **ParaformerArguments.TRAINING_ONLY,
        "decoder_attention_chunk_type": "masks of training",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerStreamingConfig(ParaformerConfig):
    """Everything `mlx_model.load` needs of a ParaformerStreaming. How it is cut into windows is each stream's own."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendStackedConfig,
        "encoder": SANMEncoderChunkOptConfig,
        "decoder": ParaformerSANMDecoderConfig,
        "predictor": CifPredictorConfig,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = ParaformerStreamingArguments
    PREDICTORS: ClassVar[tuple[str, ...]] = ("CifPredictorV2",)  # FunASR's V1 takes no windows
    model_type: str = choice("paraformer_streaming", "paraformer_streaming")
    frontend: WavFrontendStackedConfig
    encoder: SANMEncoderChunkOptConfig

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        ParaformerConfig.check(self)
        kernel, shift = self.decoder.kernel_size, self.decoder.sanm_shfit
        causal: Any = (kernel - 1) // 2
        if kernel % 2 == 0:
            raise ConfigError(f"decoder_conf: kernel_size = {kernel} is not supported for a stream (an odd one)")
        if shift not in (None, causal):
            raise ConfigError(
                f"decoder_conf: sanm_shfit = {shift}, but a stream's decoder remembers tokens of the past alone, which "
                f"takes {causal} with kernel_size {kernel}: is this an offline Paraformer's configuration? Its tensors "
                "are the same, and its texts would be wrong without an error"
            )
