"""What a family's table consists of, and what follows from its name. The tables stand in the files beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convert.weight_map import WeightMap
from mlx_model.config import config_class
from mlx_model.config.sections import ModelConfig
from mlx_model.families import FAMILIES, module_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The command that uses a converted model, what to print in Python, and the tag people search for.

    `given` is what the command takes: a recording, or a text; `more` what it takes behind that.
    """

    command: str
    python: str
    tag: str
    more: str = ""
    given: str = "speech.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family. `name` is MLX's model_type: class, configuration and model are found by it.

    Attributes:
        task: what a model hub calls that kind of model.
        usage: how it is used, for the model card.
        evidence: patterns of which each must match a tensor.
        foreign: pattern -> FunASR class; a match means that the checkpoint is one of that class.
        components: config section -> {FunASR class: its ESPnet-style name}; anything else is unsupported.
        output_layer: the tensor whose rows are the vocabulary; None where no tensor is.
        inside: the attribute in which FunASR's class keeps the network, and which released files leave away.
        vocabulary: whether there is one (tokens.json); by default, where there is an output layer.
        cmvn: target names of shift and scale, which come from am.mvn; None: no am.mvn is looked for.
        protected: module patterns that are never quantised.
    """

    name: str
    task: str
    usage: Usage
    evidence: tuple[str, ...]
    foreign: dict[str, str]
    components: dict[str, dict[str, str]]
    output_layer: str | None
    weights: WeightMap
    protected: tuple[str, ...]
    cmvn: tuple[str, str] | None = None
    vocabulary: bool | None = None
    inside: str = ""

    @property
    def has_tokens(self) -> bool:
        """Whether the family has a vocabulary."""
        return self.output_layer is not None if self.vocabulary is None else self.vocabulary

    @property
    def funasr_class(self) -> str:
        """FunASR's class, the value of config.yaml's `model:`."""
        return FAMILIES[self.name]

    @property
    def config(self) -> type[ModelConfig]:
        """The class of its configuration."""
        return config_class(self.name)

    def model(self, config: ModelConfig) -> Any:
        """Return the model itself, which has the target names and shapes. Loads MLX."""
        return module_of("mlx_model.models", self.name).Model(config)
