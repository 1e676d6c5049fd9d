"""ParaformerStreaming's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`. An offline
Paraformer has the very same tensors: config.yaml alone tells (mlx_model/config/paraformer_streaming.py).
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import CIF, CTC_LOSS, SAMPLER, SANM_DECODER, SANM_ENCODER, TRAINING
from convert.weight_map import WeightMap

TABLE = Family(
    name="paraformer_streaming",
    task="automatic-speech-recognition",
    usage=Usage(command="transcribe", python='model.transcribe("speech.wav")[0].text', tag="speech-recognition"),
    evidence=(
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "decoder.decoders3.*.feed_forward.w_1.weight",
        "decoder.output_layer.weight",
        "predictor.cif_conv1d.weight",
        "predictor.cif_output.weight",
    ),
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
        "encoder": {"SANMEncoderChunkOpt": "sanm_chunk_opt"},
        "decoder": {"ParaformerSANMDecoder": "paraformer_decoder_sanm"},
        "predictor": {"CifPredictorV2": "cif_predictor_v2"},
        "frontend": {"WavFrontendOnline": "wav_frontend"},
    },
    output_layer="decoder.output_layer.weight",
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="paraformer_streaming",
        rules=(*SANM_ENCODER, *SANM_DECODER, *CIF, *SAMPLER, *CTC_LOSS, *TRAINING),
    ),
    # Never quantised: the predictor's sums decide where tokens fire, the output layer which token it is.
    protected=("predictor.**", "decoder.output_layer"),
)
