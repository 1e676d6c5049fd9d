"""FSMN-VAD's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="fsmn_vad_streaming",
    task="voice-activity-detection",
    usage=Usage(command="vad", python='model.detect("speech.wav")[0].segments', tag="voice-activity-detection"),
    evidence=(
        "encoder.in_linear1.linear.weight",
        "encoder.in_linear2.linear.weight",
        "encoder.fsmn.*.linear.linear.weight",
        "encoder.fsmn.*.fsmn_block.conv_left.weight",
        "encoder.fsmn.*.affine.linear.weight",
        "encoder.out_linear2.linear.weight",
    ),
    # A keyword spotter's encoder has the same names; what it may have besides tells it apart.
    foreign={"ctc.**": "FsmnKWS", "encoder.out_linear1_2.**": "FsmnKWSMT"},
    components={
        "encoder": {"FSMN": "fsmn"},
        "frontend": {"WavFrontendOnline": "wav_frontend"},
    },
    output_layer=None,
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="fsmn_vad_streaming",
        rules=(
            Rule(pattern="encoder.fsmn.*.fsmn_block.conv_left.weight", op="conv2d"),
            Rule(pattern="encoder.fsmn.*.fsmn_block.conv_right.weight", op="conv2d", optional=True),  # rorder > 0
        ),
    ),
    # Never quantised: the probabilities that decide.
    protected=("encoder.out_linear2.linear",),
)
