"""ERes2NetV2's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`. The file
that 3D-Speaker released leaves the `model.` in front of all of them away.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import BATCH_NORM_COUNTER
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="eres2net_v2",
    task="speaker-verification",
    usage=Usage(command="speakers embed", python='model.embeddings("speech.wav")[0]', tag="speaker-verification"),
    evidence=(
        "model.conv1.weight",
        "model.layer3.*.fuse_models.*.local_att.0.weight",
        "model.layer3_ds.weight",
        "model.fuse34.local_att.0.weight",
        "model.seg_1.weight",
    ),
    foreign={"xvector.**": "CAMPPlus"},
    components={},
    output_layer=None,
    cmvn=None,
    weights=WeightMap(
        family="eres2net_v2",
        rules=(
            Rule(pattern="model.conv1.weight", op="conv2d"),
            Rule(pattern="model.layer3_ds.weight", op="conv2d"),
            Rule(pattern="model.layer*.*.conv*.weight", op="conv2d"),
            Rule(pattern="model.layer*.*.convs.*.weight", op="conv2d"),
            Rule(pattern="model.layer*.*.shortcut.0.weight", op="conv2d", optional=True),  # sizes that change
            Rule(pattern="model.layer*.*.fuse_models.*.local_att.0.weight", op="conv2d"),
            Rule(pattern="model.layer*.*.fuse_models.*.local_att.3.weight", op="conv2d"),
            Rule(pattern="model.fuse34.local_att.0.weight", op="conv2d"),
            Rule(pattern="model.fuse34.local_att.3.weight", op="conv2d"),
            *BATCH_NORM_COUNTER,
        ),
    ),
    # Never quantised: what becomes the embedding.
    protected=("model.seg_1", "model.seg_2"),
    inside="model",
)
