"""SeacoParaformer's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
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
            Rule(pattern="encoder.encoders0.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="encoder.encoders.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # num_blocks > 1
            Rule(pattern="decoder.decoders.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="decoder.decoders2.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # the rest, if any
            Rule(pattern="seaco_decoder.decoders.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(pattern="seaco_decoder.decoders2.*.self_attn.fsmn_block.weight", op="conv1d", optional=True),
            Rule(
                pattern="seaco_decoder.embed.**", reason="hotwords are spelt by decoder.embed; nothing reads it",
                optional=True,
            ),
            Rule(pattern="predictor.cif_conv1d.weight", op="conv1d"),  # V1 depthwise, V2 and V3 dense: one permutation
            Rule(pattern="predictor.upsample_cnn.weight", op="conv_transpose1d", optional=True),  # CifPredictorV3
            Rule(
                pattern="ctc.**", reason="auxiliary CTC loss of training; Paraformer decodes without it", optional=True
            ),
            Rule(pattern="criterion*.**", reason="training loss", optional=True),
            Rule(pattern="error_calculator.**", reason="training metric", optional=True),
            Rule(pattern="specaug.**", reason="training augmentation", optional=True),
            Rule(pattern="normalize.**", reason="training leftover; config.yaml sets no normalize", optional=True),
        ),
    ),
    # Never quantised: the predictor's sums decide where tokens fire, the output layers which token it is and whether
    # a hotword is; what hotwords are read by is small.
    protected=("predictor.**", "decoder.output_layer", "hotword_output_layer", "lstm_proj"),
)  # fmt: skip
