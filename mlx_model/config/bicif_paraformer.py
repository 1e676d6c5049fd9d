"""A BiCifParaformer's configuration: a Paraformer's, with CifPredictorV3. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.config.parts import (
    CifPredictorV3Config,
    ParaformerSANMDecoderConfig,
    SANMEncoderConfig,
    TokenizerConfig,
    WavFrontendConfig,
)
from mlx_model.config.sections import Section, choice
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class BiCifParaformerConfig(ParaformerConfig):
    """Everything `mlx_model.load` needs of a BiCifParaformer."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SANMEncoderConfig,
        "decoder": ParaformerSANMDecoderConfig,
        "predictor": CifPredictorV3Config,
        "tokenizer": TokenizerConfig,
    }
    PREDICTORS: ClassVar[tuple[str, ...]] = ("CifPredictorV3",)
    model_type: str = choice("bicif_paraformer", "bicif_paraformer")
    predictor: CifPredictorV3Config

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        ParaformerConfig.check(self)
        self.predictor.check()
        if self.tokenizer.kind != "CharTokenizer":
            raise ConfigError(
                f"tokenizer {self.tokenizer.kind!r} is not supported (only CharTokenizer: FunASR times the characters "
                "of another one's text as if they were tokens)"
            )
