"""BiCifParaformer's table: Paraformer's exceptions, and the second head of its predictor. Data only."""

from convert.architectures.family import Family, Usage
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="bicif_paraformer",
    task="automatic-speech-recognition",
    usage=Usage(command="transcribe", python='model.transcribe("speech.wav")[0].words', tag="speech-recognition"),
    # A Paraformer's, and the second head.
    evidence=(
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "decoder.decoders3.*.feed_forward.w_1.weight",
        "decoder.output_layer.weight",
        "predictor.cif_conv1d.weight",
        "predictor.upsample_cnn.weight",
        "predictor.cif_output2.weight",
    ),
    foreign={
        "seaco_decoder.**": "SeacoParaformer",
        "hotword_output_layer.**": "SeacoParaformer",
        "bias_encoder.**": "SeacoParaformer",
        "bias_embed.**": "ContextualParaformer",
        "decoder.bias_decoder.**": "ContextualParaformer",
    },
    components={
        "encoder": {"SANMEncoder": "sanm"},
        "decoder": {"ParaformerSANMDecoder": "paraformer_decoder_sanm"},
        "predictor": {"CifPredictorV3": "cif_predictor_v3"},
        "frontend": {"WavFrontend": "wav_frontend"},
    },
    output_layer="decoder.output_layer.weight",
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="bicif_paraformer",
        rules=(
            Rule(pattern="encoder.encoders0.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="encoder.encoders.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # num_blocks > 1
            Rule(pattern="decoder.decoders.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="decoder.decoders2.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # the rest, if any
            Rule(pattern="predictor.cif_conv1d.weight", op="conv1d"),
            Rule(pattern="predictor.upsample_cnn.weight", op="conv_transpose1d"),
            Rule(pattern="decoder.embed.**", reason="used by the training sampler only", optional=True),
            Rule(
                pattern="ctc.**", reason="auxiliary CTC loss of training; Paraformer decodes without it", optional=True
            ),
            Rule(pattern="criterion*.**", reason="training loss", optional=True),
            Rule(pattern="error_calculator.**", reason="training metric", optional=True),
            Rule(pattern="specaug.**", reason="training augmentation", optional=True),
            Rule(pattern="normalize.**", reason="training leftover; config.yaml sets no normalize", optional=True),
        ),
    ),
    # Never quantised: the predictor's sums decide where tokens fire and when, the output layer which token it is.
    protected=("predictor.**", "decoder.output_layer"),
)
