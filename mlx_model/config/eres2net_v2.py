"""An ERes2NetV2's configuration. Stdlib only. Features are CAM++'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mlx_model.config.sections import ModelConfig, Parts, Section, choice, number
from mlx_model.config.speaker_networks import ERes2NetV2Arguments, SpeakerFrontendConfig
from mlx_model.errors import ConfigError

LAYERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ERes2NetV2Config(ModelConfig):
    """Everything `mlx_model.load` needs of an ERes2NetV2."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {"frontend": SpeakerFrontendConfig, "network": ERes2NetV2Arguments}
    ARGUMENTS: ClassVar[type[Section]] = ERes2NetV2Arguments
    model_type: str = choice("eres2net_v2", "eres2net_v2")
    frontend: SpeakerFrontendConfig
    network: ERes2NetV2Arguments
    threshold: float | None = number(-1, 1, None)  # cosine; `yesOrno_thr` of configuration.json

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        return cls(
            frontend=SpeakerFrontendConfig(), network=parts.arguments, threshold=parts.threshold, dtype=parts.dtype
        )

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {"model_conf: num_blocks": sum(self.network.num_blocks)}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        self.frontend.check()
        network = self.network
        if len(network.num_blocks) != LAYERS:
            raise ConfigError(f"model_conf: num_blocks = {network.num_blocks} must have {LAYERS} entries, one a layer")
        if network.width(network.m_channels) < 1:
            raise ConfigError(
                f"model_conf: m_channels = {network.m_channels} and baseWidth = {network.baseWidth} leave no channel"
            )
