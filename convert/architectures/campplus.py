"""CAM++'s table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import BATCH_NORM_COUNTER
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="campplus",
    task="speaker-verification",
    usage=Usage(command="speakers embed", python='model.embeddings("speech.wav")[0]', tag="speaker-verification"),
    evidence=(
        "head.layer1.*.conv1.weight",
        "xvector.tdnn.linear.weight",
        "xvector.block1.tdnnd1.cam_layer.linear_local.weight",
        "xvector.transit3.linear.weight",
    ),
    foreign={"model.layer3_ds.weight": "ERes2NetV2", "layer3_ds.weight": "ERes2NetV2"},
    components={},  # FunASR builds the frontend of config.yaml and never uses it
    output_layer=None,
    cmvn=None,
    weights=WeightMap(
        family="campplus",
        rules=(
            Rule(pattern="head.conv*.weight", op="conv2d"),
            Rule(pattern="head.layer*.*.conv*.weight", op="conv2d"),
            Rule(pattern="head.layer*.*.shortcut.0.weight", op="conv2d"),
            Rule(pattern="xvector.tdnn.linear.weight", op="conv1d"),
            Rule(pattern="xvector.block*.*.linear1.weight", op="pointwise"),
            Rule(pattern="xvector.block*.*.cam_layer.linear_local.weight", op="conv1d"),
            Rule(pattern="xvector.block*.*.cam_layer.linear1.weight", op="pointwise"),
            Rule(pattern="xvector.block*.*.cam_layer.linear2.weight", op="pointwise"),
            Rule(pattern="xvector.transit*.linear.weight", op="pointwise"),
            Rule(pattern="xvector.dense.linear.weight", op="pointwise", optional=True),  # output_level segment
            *BATCH_NORM_COUNTER,
        ),
    ),
    # Never quantised: what becomes the embedding.
    protected=("xvector.dense.linear",),
)
