"""SenseVoiceSmall's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED, Family, Seeds

FAMILY = Family(
    name="sense_voice",
    decided={"token": "token_ids", "time": "words"},
    nothing="yields a token",
    faults=(
        Seeds("frontend"),
        Seeds("queries"),
        Seeds("sanm_encoder", "encoder"),
        Seeds("tp_encoder", "encoder"),
        Seeds("ctc", "ctc"),
        Seeds("tokens"),
        Seeds("ctc_times"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding"),
    invariance=BATCHED,
    scored="token",
    words={"token": "tokens", "time": "times of words", "text": "texts"},
    notes=(
        "Distances are from FunASR in float64. Its LayerNorm would round to float32 even there, so the truth's norms "
        "are torch's own.",
        "A token is the best one of a frame; language auto, no itn. What the other queries are is a structural fact.",
        "Times are those of FunASR's output_timestamp, over the tokens that SentencePiece makes of the text.",
    ),
)
