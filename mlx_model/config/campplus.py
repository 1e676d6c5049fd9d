"""A CAM++'s configuration. Stdlib only.

FunASR builds the frontend that config.yaml names and never uses it (config/speaker_networks.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mlx_model.config.sections import ModelConfig, Parts, Section, choice, number
from mlx_model.config.speaker_networks import CAMPPlusArguments, SpeakerFrontendConfig, nonlinearities


@dataclass(frozen=True, slots=True, kw_only=True)
class CAMPPlusConfig(ModelConfig):
    """Everything `mlx_model.load` needs of a CAM++."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {"frontend": SpeakerFrontendConfig, "network": CAMPPlusArguments}
    ARGUMENTS: ClassVar[type[Section]] = CAMPPlusArguments
    model_type: str = choice("campplus", "campplus")
    frontend: SpeakerFrontendConfig
    network: CAMPPlusArguments
    threshold: float | None = number(-1, 1, None)  # cosine; `yesOrno_thr` of configuration.json

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        return cls(
            frontend=SpeakerFrontendConfig(), network=parts.arguments, threshold=parts.threshold, dtype=parts.dtype
        )

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        self.frontend.check()
        nonlinearities(self.network.config_str)
