"""A SeacoParaformer's configuration: a Paraformer's, and what makes hotwords of it. Stdlib only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mlx_model.config.paraformer import ParaformerArguments, ParaformerConfig
from mlx_model.config.parts import (
    CifPredictorV3Config,
    ParaformerSANMDecoderConfig,
    SANMEncoderConfig,
    TokenizerConfig,
    WavFrontendConfig,
)
from mlx_model.config.sections import MAX_SIZE, Parts, Section, choice, number
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingDecoderConfig(ParaformerSANMDecoderConfig):
    """`decoder_conf` of a Paraformer whose token table, `decoder.embed`, is read: hotwords are spelt by it."""

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {**ParaformerSANMDecoderConfig.FIXED, "wo_input_layer": (False,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeacoDecoderConfig(ParaformerSANMDecoderConfig):
    """`seaco_decoder_conf`: a ParaformerSANMDecoder without an output layer; FunASR's own default has one."""

    WHERE: ClassVar[str] = "seaco_decoder_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        key: values for key, values in ParaformerSANMDecoderConfig.FIXED.items() if key != "use_output_layer"
    }
    use_output_layer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SeacoParaformerArguments(ParaformerArguments):
    """Arguments of FunASR's class SeacoParaformer (`model_conf`, or at top level, which wins)."""

    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        **ParaformerArguments.TRAINING_ONLY,
        "bias_encoder_dropout_rate": "dropout acts in training only",
        "seaco_lsm_weight": "label smoothing of the training loss",
        "seaco_length_normalized_loss": "a training loss",
        "seaco_length_normal": "misspelt, and never read by FunASR",
        "seaco_weight": "weight of a training loss; inference merges with 1",
        "train_decoder": "a training loss",
    }
    inner_dim: int = number(1, MAX_SIZE, 256)
    bias_encoder_type: str = choice("lstm", "lstm")
    bias_encoder_bid: bool = False
    NO_BIAS: int = number(0, MAX_SIZE, 8377)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeacoParaformerConfig(ParaformerConfig):
    """Everything `mlx_model.load` needs of a SeacoParaformer.

    `no_bias` is the token by which the bias branch says that it has nothing to say; `bias_encoder_bid`, whether
    hotwords are read in both directions. Times need `predictor_class` CifPredictorV3.
    """

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SANMEncoderConfig,
        "decoder": EmbeddingDecoderConfig,
        "seaco_decoder": SeacoDecoderConfig,
        "predictor": CifPredictorV3Config,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = SeacoParaformerArguments
    PREDICTORS: ClassVar[tuple[str, ...]] = ("CifPredictor", "CifPredictorV2", "CifPredictorV3")
    model_type: str = choice("seaco_paraformer", "seaco_paraformer")
    decoder: EmbeddingDecoderConfig
    seaco_decoder: SeacoDecoderConfig
    predictor: CifPredictorV3Config
    bias_encoder_bid: bool = False
    no_bias: int = number(0, MAX_SIZE, 8377)

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        given, width = parts.arguments, parts.sections["encoder"].output_size
        if given.inner_dim != width:
            raise ConfigError(
                f"model_conf: inner_dim = {given.inner_dim} but the encoder's output_size is {width}; hotwords, "
                "embeddings and the decoder's states meet in one decoder"
            )
        config = super(SeacoParaformerConfig, cls).assemble(parts)
        return dataclasses.replace(config, bias_encoder_bid=given.bias_encoder_bid, no_bias=given.NO_BIAS)

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        seaco = self.seaco_decoder
        return {**ParaformerConfig.blocks(self), "seaco_decoder_conf": max(seaco.num_blocks, seaco.att_layer_num)}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        ParaformerConfig.check(self)
        width, seaco = self.encoder.output_size, self.seaco_decoder
        if self.predictor_class == "CifPredictorV3":
            self.predictor.check()
        if seaco.use_output_layer:
            raise ConfigError(
                "seaco_decoder_conf: use_output_layer = True is not supported (only False, which has to be said): "
                "what it gives is read by hotword_output_layer, which wants states, not tokens"
            )
        if width % seaco.attention_heads:
            raise ConfigError(
                f"seaco_decoder_conf: width {width} is not divisible by attention_heads {seaco.attention_heads}"
            )
        if self.no_bias >= self.vocab_size:
            raise ConfigError(
                f"model_conf: NO_BIAS = {self.no_bias} is no token of {self.vocab_size}: the bias branch could never "
                "abstain"
            )
