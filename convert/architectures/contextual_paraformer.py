"""ContextualParaformer's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import CIF, CTC_LOSS, FSMN, SANM_ENCODER, TRAINING
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="contextual_paraformer",
    task="automatic-speech-recognition",
    usage=Usage(
        command="transcribe",
        python='model.transcribe("speech.wav", hotwords="阿里 通义")[0].text',
        tag="speech-recognition",
    ),
    evidence=(
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "decoder.last_decoder.src_attn.linear_q.weight",
        "decoder.bias_decoder.src_attn.linear_q.weight",
        "decoder.bias_output.weight",
        "decoder.output_layer.weight",
        "predictor.cif_conv1d.weight",
        "predictor.cif_output.weight",
        "bias_encoder.weight_hh_l0",
    ),
    foreign={
        "seaco_decoder.**": "SeacoParaformer",
        "hotword_output_layer.**": "SeacoParaformer",
        "predictor.cif_output2.**": "BiCifParaformer",
        "predictor.upsample_cnn.**": "BiCifParaformer",
        "predictor.blstm.**": "BiCifParaformer",
    },
    # The sections of config.yaml: key -> class -> its name in the old ESPnet-style files.
    components={
        "encoder": {"SANMEncoder": "sanm"},
        "decoder": {"ContextualParaformerDecoder": "contextual_paraformer_decoder"},
        "predictor": {"CifPredictor": "cif_predictor", "CifPredictorV2": "cif_predictor_v2"},
        "frontend": {"WavFrontend": "wav_frontend"},
    },
    output_layer="decoder.output_layer.weight",
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="contextual_paraformer",
        rules=(
            *SANM_ENCODER,
            Rule(pattern=f"decoder.decoders.*.{FSMN}", op="conv1d", optional=True),  # att_layer_num > 1
            Rule(pattern=f"decoder.last_decoder.{FSMN}", op="conv1d"),
            Rule(pattern="decoder.bias_output.weight", op="pointwise"),
            Rule(pattern=f"decoder.decoders2.*.{FSMN}", op="conv1d", optional=True),  # the rest, if any
            *CIF,
            # One of two tables has the hotwords' tokens: use_decoder_embedding says which.
            Rule(pattern="decoder.embed.**", reason="used by the training sampler only", optional=True, spare=True),
            Rule(pattern="bias_embed.**", reason="hotwords are looked up in decoder.embed", optional=True, spare=True),
            *CTC_LOSS,
            *TRAINING,
        ),
    ),
    # Never quantised: the predictor's sums decide where tokens fire, the output layer which token it is; the table of
    # hotwords' tokens is looked up in, not multiplied with.
    protected=("predictor.**", "decoder.output_layer", "bias_embed"),
)
