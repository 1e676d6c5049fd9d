"""Paraformer's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="paraformer",
    task="automatic-speech-recognition",
    usage=Usage(command="transcribe", python='model.transcribe("speech.wav")[0].text', tag="speech-recognition"),
    # What every Paraformer has and what no other class has in this combination.
    evidence=(
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "decoder.decoders3.*.feed_forward.w_1.weight",
        "decoder.output_layer.weight",
        "predictor.cif_conv1d.weight",
        "predictor.cif_output.weight",
    ),
    # Tensors that tell a relative apart even where config.yaml calls it a Paraformer.
    foreign={
        "seaco_decoder.**": "SeacoParaformer",
        "hotword_output_layer.**": "SeacoParaformer",
        "bias_encoder.**": "ContextualParaformer",
        "bias_embed.**": "ContextualParaformer",
        "decoder.bias_decoder.**": "ContextualParaformer",
        "predictor.cif_output2.**": "BiCifParaformer",
        "predictor.upsample_cnn.**": "BiCifParaformer",
        "predictor.blstm.**": "BiCifParaformer",
    },
    # The sections of config.yaml: key -> class -> its name in the old ESPnet-style files.
    components={
        "encoder": {"SANMEncoder": "sanm"},
        "decoder": {"ParaformerSANMDecoder": "paraformer_decoder_sanm"},
        "predictor": {"CifPredictor": "cif_predictor", "CifPredictorV2": "cif_predictor_v2"},
        "frontend": {"WavFrontend": "wav_frontend"},
    },
    output_layer="decoder.output_layer.weight",
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="paraformer",
        rules=(
            Rule(pattern="encoder.encoders0.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="encoder.encoders.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # num_blocks > 1
            Rule(pattern="decoder.decoders.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="decoder.decoders2.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # the rest, if any
            Rule(pattern="predictor.cif_conv1d.weight", op="conv1d"),  # V1 depthwise, V2 dense: one permutation
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
    # Never quantised: the predictor's sums decide where tokens fire, the output layer which token it is.
    protected=("predictor.**", "decoder.output_layer"),
)
