"""BiCifParaformer's table: Paraformer's exceptions, and the second head of its predictor. Data only."""

from convert.architectures.family import Family, Usage
from convert.part_rules import CIF_V3, CTC_LOSS, SAMPLER, SANM_DECODER, SANM_ENCODER, TRAINING
from convert.weight_map import WeightMap

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
        rules=(*SANM_ENCODER, *SANM_DECODER, *CIF_V3, *SAMPLER, *CTC_LOSS, *TRAINING),
    ),
    # Never quantised: the predictor's sums decide where tokens fire and when, the output layer which token it is.
    protected=("predictor.**", "decoder.output_layer"),
)
