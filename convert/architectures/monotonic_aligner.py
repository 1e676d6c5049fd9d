"""MonotonicAligner's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import SANM_ENCODER, TRAINING
from convert.weight_map import Rule, WeightMap

FIRST_HEAD = "of the predictor's first head, which aligning does not ask: only the second one, cif_output2, computes"
CONVOLUTION = "of the predictor's first head; the second one reads it only where predictor_conf says use_cif1_cnn"

TABLE = Family(
    name="monotonic_aligner",
    task="automatic-speech-recognition",
    usage=Usage(
        command="align",
        python='model.align("speech.wav", "what is said")[0].words',
        tag="forced-alignment",
        more=" 'what is said'",
    ),
    evidence=(
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "encoder.after_norm.weight",
        "predictor.upsample_cnn.weight",
        "predictor.cif_output2.weight",
    ),
    foreign={
        "seaco_decoder.**": "SeacoParaformer",
        "decoder.**": "BiCifParaformer",
    },
    components={
        "encoder": {"SANMEncoder": "sanm"},
        "predictor": {"CifPredictorV3": "cif_predictor_v3"},
        "frontend": {"WavFrontend": "wav_frontend"},
    },
    output_layer=None,
    vocabulary=True,
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="monotonic_aligner",
        rules=(
            *SANM_ENCODER,
            Rule(pattern="predictor.upsample_cnn.weight", op="conv_transpose1d"),
            Rule(pattern="predictor.cif_conv1d.weight", op="conv1d", optional=True),
            Rule(pattern="predictor.cif_conv1d.**", reason=CONVOLUTION, optional=True, spare=True),
            Rule(pattern="predictor.cif_output.**", reason=FIRST_HEAD, optional=True),
            *TRAINING,
        ),
    ),
    # Never quantised: the sums of these decide when a token is said.
    protected=("predictor.**",),
)
