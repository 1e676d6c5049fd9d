"""CTTransformer's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import SANM_ENCODER, TRAINING
from convert.weight_map import WeightMap

TABLE = Family(
    name="ct_transformer",
    task="token-classification",
    usage=Usage(
        command="punctuate",
        python='model.punctuate(["今天天气很好我们去公园吧"])[0].text',
        tag="punctuation",
        given="今天天气很好我们去公园吧",
    ),
    evidence=(
        "embed.weight",
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "encoder.after_norm.weight",
        "decoder.weight",
        "decoder.bias",
    ),
    foreign={
        "predictor.**": "Paraformer",
        "decoder.decoders.**": "Paraformer",
        "ctc.**": "SenseVoiceSmall",
    },
    components={"encoder": {"SANMEncoder": "sanm"}},
    output_layer="embed.weight",
    weights=WeightMap(family="ct_transformer", rules=(*SANM_ENCODER, *TRAINING)),
    # Never quantised: what decides which mark it is.
    protected=("decoder",),
)
