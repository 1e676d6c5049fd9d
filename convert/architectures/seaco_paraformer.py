"""SeacoParaformer's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import CIF, CTC_LOSS, FSMN, SANM_DECODER, SANM_ENCODER, TRAINING
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="seaco_paraformer",
    task="automatic-speech-recognition",
    usage=Usage(
        command="transcribe",
        python='model.transcribe("speech.wav", hotwords="魔搭 通义")[0].text',
        tag="speech-recognition",
    ),
    evidence=(
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "decoder.decoders3.*.feed_forward.w_1.weight",
        "decoder.embed.0.weight",
        "decoder.output_layer.weight",
        "predictor.cif_conv1d.weight",
        "bias_encoder.weight_hh_l1",
        "seaco_decoder.decoders3.*.feed_forward.w_1.weight",
        "hotword_output_layer.weight",
    ),
    foreign={
        "decoder.bias_decoder.**": "ContextualParaformer",
        "decoder.last_decoder.**": "ContextualParaformer",
        "bias_embed.**": "ContextualParaformer",
    },
    components={
        "encoder": {"SANMEncoder": "sanm"},
        "decoder": {"ParaformerSANMDecoder": "paraformer_decoder_sanm"},
        "seaco_decoder": {"ParaformerSANMDecoder": "paraformer_decoder_sanm"},
        "predictor": {
            "CifPredictor": "cif_predictor",
            "CifPredictorV2": "cif_predictor_v2",
            "CifPredictorV3": "cif_predictor_v3",
        },
        "frontend": {"WavFrontend": "wav_frontend"},
    },
    output_layer="decoder.output_layer.weight",
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="seaco_paraformer",
        rules=(
            *SANM_ENCODER,
            *SANM_DECODER,
            Rule(pattern=f"seaco_decoder.decoders.*.{FSMN}", op="conv1d"),
            Rule(pattern=f"seaco_decoder.decoders2.*.{FSMN}", op="conv1d", optional=True),
            Rule(
                pattern="seaco_decoder.embed.**", reason="hotwords are spelt by decoder.embed; nothing reads it",
                optional=True,
            ),
            *CIF,
            Rule(pattern="predictor.upsample_cnn.weight", op="conv_transpose1d", optional=True),  # CifPredictorV3
            *CTC_LOSS,
            *TRAINING,
        ),
    ),
    # Never quantised: the predictor's sums decide where tokens fire, the output layers which token it is and whether
    # a hotword is; what hotwords are read by is small.
    protected=("predictor.**", "decoder.output_layer", "hotword_output_layer", "lstm_proj"),
)  # fmt: skip
