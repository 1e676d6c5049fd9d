"""SenseVoiceSmall's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
from convert.part_rules import FSMN, SANM_ENCODER, TRAINING
from convert.weight_map import Rule, WeightMap

TABLE = Family(
    name="sense_voice",
    task="automatic-speech-recognition",
    usage=Usage(command="transcribe", python='model.transcribe("speech.wav")[0].text', tag="speech-recognition"),
    evidence=(
        "embed.weight",
        "encoder.encoders0.*.self_attn.linear_q_k_v.weight",
        "encoder.after_norm.weight",
        "encoder.tp_norm.weight",
        "ctc.ctc_lo.weight",
    ),
    foreign={
        "audio_adaptor.**": "FunASRNano",
        "llm.**": "FunASRNano",
        "decoder.**": "Paraformer",
        "predictor.**": "Paraformer",
    },
    components={
        "encoder": {"SenseVoiceEncoderSmall": "sense_voice_encoder_small"},
        "frontend": {"WavFrontend": "wav_frontend"},
    },
    output_layer="ctc.ctc_lo.weight",
    cmvn=("frontend.cmvn_shift", "frontend.cmvn_scale"),
    weights=WeightMap(
        family="sense_voice",
        rules=(
            *SANM_ENCODER,
            Rule(pattern=f"encoder.tp_encoders.*.{FSMN}", op="conv1d", optional=True),  # tp_blocks > 0
            *TRAINING,
        ),
    ),
    # Never quantised: the layer that decides which token it is.
    protected=("ctc.ctc_lo",),
)
