"""The sections of networks that tell speakers apart: their features, and the arguments of FunASR's classes.

FunASR takes the features without asking config.yaml, whose frontend it builds and never uses. Stdlib only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mlx_model.config.parts import MAX_BLOCKS, MAX_WIDTH, WavFrontendConfig
from mlx_model.config.sections import Section, bounds, choice, number
from mlx_model.errors import ConfigError

KINDS = ("batchnorm", "batchnorm_", "relu", "prelu")
BANDS = 10  # frequencies that are left of 80 after three strides of 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerFrontendConfig(WavFrontendConfig):
    """Features of speaker embeddings, which no config.yaml sets: Kaldi's own defaults, of samples in [-1, 1]."""

    window: str = "povey"
    dither: float = number(0, 32768, 0.0)
    upsacle_samples: bool = False
    cmvn: bool = False

    def check(self) -> None:
        """Raise ConfigError for features that the networks do not take."""
        WavFrontendConfig.check(self)
        if (self.n_mels, self.lfr_m, self.lfr_n, self.cmvn) != (80, 1, 1, False):
            raise ConfigError("frontend: a speaker embedding takes 80 mel bands, neither stacked nor with CMVN")


def nonlinearities(kinds: str) -> list[str]:
    """Return the names that a `config_str` lists, in order.

    Raises:
        ConfigError: one that FunASR does not know, or the same twice, of which FunASR keeps one.
    """
    found = kinds.split("-")
    plain = [name.rstrip("_") for name in found]
    if not set(found) <= set(KINDS) or len(set(plain)) < len(plain):
        raise ConfigError(f"model_conf: config_str = {kinds!r} is not supported (each of {', '.join(KINDS)} once)")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CAMPPlusArguments(Section):
    """Arguments of FunASR's class CAMPPlus (`model_conf`), defaults as in funasr/models/campplus/model.py."""

    WHERE: ClassVar[str] = "model_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"feat_dim": (80,)}  # FunASR's features are 80 wide whatever it says
    TRAINING_ONLY: ClassVar[dict[str, str]] = {"memory_efficient": "computes activations again in training"}
    embedding_size: int = number(1, MAX_WIDTH, 192)
    growth_rate: int = number(1, MAX_WIDTH, 32)
    bn_size: int = number(1, 1024, 4)
    init_channels: int = number(2, MAX_WIDTH, 128)
    config_str: str = "batchnorm-relu"
    output_level: str = choice("segment", "segment", "frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class ERes2NetV2Arguments(Section):
    """Arguments of FunASR's class ERes2NetV2SV (`model_conf`), defaults as in funasr/models/eres2net/model.py."""

    WHERE: ClassVar[str] = "model_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"feat_dim": (80,)}  # FunASR's features are 80 wide whatever it says
    embedding_size: int = number(1, MAX_WIDTH, 192)
    m_channels: int = number(1, MAX_WIDTH, 64)
    baseWidth: int = number(1, MAX_WIDTH, 26)  # noqa: N815  FunASR's name
    scale: int = number(1, 64, 2)
    expansion: int = number(1, 64, 2)
    num_blocks: list[int] = field(default_factory=lambda: [3, 4, 6, 3], metadata=bounds(1, MAX_BLOCKS))
    pooling_func: str = choice("TSTP", "TSTP", "TAP", "TSDP")
    two_emb_layer: bool = False

    def width(self, planes: int) -> int:
        """Return the channels of one part of a block, rounded down."""
        return int(planes * (self.baseWidth / 64.0))

    @property
    def stats_size(self) -> int:
        """How many statistics there are of a recording."""
        return BANDS * 8 * self.m_channels * self.expansion * (2 if self.pooling_func == "TSTP" else 1)
