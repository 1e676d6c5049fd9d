"""A Paraformer's configuration: its arguments, and how its parts fit together. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mlx_model.config.parts import (
    CifPredictorConfig,
    ParaformerSANMDecoderConfig,
    SANMEncoderConfig,
    TokenizerConfig,
    WavFrontendConfig,
)
from mlx_model.config.sections import MAX_SIZE, ModelConfig, Parts, Section, choice, number
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerArguments(Section):
    """Arguments of FunASR's class Paraformer (`model_conf`, or at top level, which wins)."""

    WHERE: ClassVar[str] = "model_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"share_embedding": (False,)}
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "lsm_weight": "label smoothing of the training loss",
        "length_normalized_loss": "a training loss",
        "predictor_weight": "weight of a training loss",
        "predictor_bias": "shifts the target length in training only",
        "sampling_ratio": "of the training sampler",
        "use_1st_decoder_loss": "a training loss",
        "ignore_id": "masks targets of the training loss",
    }
    blank_id: int = number(0, MAX_SIZE, 0)
    sos: int | None = number(0, MAX_SIZE, 1)  # None: the last token
    eos: int | None = number(0, MAX_SIZE, 2)
    ctc_weight: float = number(0, 1, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerConfig(ModelConfig):
    """Everything `mlx_model.load` needs of a Paraformer. `predictor_class` is "CifPredictor" or "CifPredictorV2"."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SANMEncoderConfig,
        "decoder": ParaformerSANMDecoderConfig,
        "predictor": CifPredictorConfig,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = ParaformerArguments
    PREDICTORS: ClassVar[tuple[str, ...]] = ("CifPredictor", "CifPredictorV2")
    model_type: str = choice("paraformer", "paraformer")
    vocab_size: int = number(1, MAX_SIZE)
    frontend: WavFrontendConfig
    encoder: SANMEncoderConfig
    decoder: ParaformerSANMDecoderConfig
    predictor_class: str
    predictor: CifPredictorConfig
    tokenizer: TokenizerConfig
    blank_id: int = number(0, MAX_SIZE, 0)
    sos: int = number(0, MAX_SIZE, 1)
    eos: int = number(0, MAX_SIZE, 2)

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        given, last = parts.arguments, (parts.vocab_size or 1) - 1
        if given.ctc_weight >= 1.0:
            raise ConfigError(
                f"model_conf: ctc_weight = {given.ctc_weight!r} is not supported (below 1: with 1 there is no decoder)"
            )
        return cls(
            vocab_size=last + 1,
            predictor_class=parts.components["predictor"],
            tokenizer=parts.tokenizer or TokenizerConfig(),
            blank_id=given.blank_id,
            sos=last if given.sos is None else given.sos,
            eos=last if given.eos is None else given.eos,
            dtype=parts.dtype,
            **parts.sections,
        )

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {
            "encoder_conf": self.encoder.num_blocks,
            "decoder_conf": max(self.decoder.num_blocks, self.decoder.att_layer_num),
        }

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        width, predictor = self.encoder.output_size, self.predictor
        if self.predictor_class not in self.PREDICTORS:
            raise ConfigError(
                f"predictor {self.predictor_class!r} is not supported (only {', '.join(self.PREDICTORS)})"
            )
        if predictor.idim != width:
            raise ConfigError(f"predictor_conf: idim = {predictor.idim} but the encoder's output_size is {width}")
        if predictor.smooth_factor - predictor.noise_threshold <= 0.0:
            raise ConfigError(
                f"predictor_conf: noise_threshold = {predictor.noise_threshold:g} is not below smooth_factor = "
                f"{predictor.smooth_factor:g}: no token would ever fire"
            )
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
        for key, token in (("blank_id", self.blank_id), ("sos", self.sos), ("eos", self.eos)):
            if token >= self.vocab_size:
                raise ConfigError(f"model_conf: {key} = {token} is no token of {self.vocab_size}")
        self.frontend.check()
        if self.frontend.output_size % 2:
            raise ConfigError(f"frontend_conf: feature width {self.frontend.output_size} must be even (sin/cos halves)")
