"""CTTransformerStreaming's table: what differs from copying every tensor under its own name. Data only.

Its tensors are named and shaped as a CTTransformer's; config.yaml alone (`model:`, `encoder:`) tells them apart.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import SANM_ENCODER, TRAINING
from convert.weight_map import WeightMap

TABLE = Family(
    name="ct_transformer_streaming",
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
        "predictor.**": "ParaformerStreaming",
        "decoder.decoders.**": "ParaformerStreaming",
        "ctc.**": "SenseVoiceSmall",
    },
    components={"encoder": {"SANMVadEncoder": "sanm_vad"}},
    output_layer="embed.weight",
    weights=WeightMap(family="ct_transformer_streaming", rules=(*SANM_ENCODER, *TRAINING)),
    # Never quantised: what decides which mark it is.
    protected=("decoder",),
)
