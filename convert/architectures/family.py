"""What a family's table consists of. Types only; the tables stand in the files beside this one, one per file."""

from __future__ import annotations

from dataclasses import dataclass

from convert.weight_map import WeightMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family. `name` is MLX's model_type, `funasr_class` the value of config.yaml's `model:`.

    Attributes:
        mlx_module: module whose `Model(config)` gives the target names and shapes.
        evidence: patterns of which each must match a tensor.
        foreign: pattern -> FunASR class; a match means that the checkpoint is one of that class.
        components: config section -> {FunASR class: its ESPnet-style name}; anything else is unsupported.
        output_layer: the tensor whose rows are the vocabulary.
        cmvn: target names of shift and scale, which come from am.mvn.
        protected: module patterns that are never quantised.
    """

    name: str
    funasr_class: str
    mlx_module: str
    evidence: tuple[str, ...]
    foreign: dict[str, str]
    components: dict[str, dict[str, str]]
    output_layer: str
    cmvn: tuple[str, str]
    weights: WeightMap
    protected: tuple[str, ...]
