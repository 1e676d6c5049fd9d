"""SenseVoiceSmall's table: what differs from copying every tensor under its own name. Data only.

The target names are FunASR's, letter for letter; the target shapes are those of mlx_model.models's `Model`.
"""

from convert.architectures.family import Family, Usage
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
            Rule(pattern="encoder.encoders0.*.self_attn.fsmn_block.weight", op="conv1d"),
            Rule(
                pattern="encoder.encoders.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # num_blocks > 1
            Rule(
                pattern="encoder.tp_encoders.*.self_attn.fsmn_block.weight", op="conv1d", optional=True
            ),  # tp_blocks > 0
            Rule(pattern="criterion*.**", reason="training loss", optional=True),
            Rule(pattern="error_calculator.**", reason="training metric", optional=True),
            Rule(pattern="specaug.**", reason="training augmentation", optional=True),
            Rule(pattern="normalize.**", reason="training leftover; config.yaml sets no normalize", optional=True),
        ),
    ),
    # Never quantised: the layer that decides which token it is.
    protected=("ctc.ctc_lo",),
)
