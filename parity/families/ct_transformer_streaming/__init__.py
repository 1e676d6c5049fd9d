"""CTTransformerStreaming's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED_TEXTS, Family, Seeds
from parity.taps.takes import TEXTS

FAMILY = Family(
    name="ct_transformer_streaming",
    decided={"mark": "decoder", "window": "end_to_end.windows", "text": "end_to_end.text"},
    nothing="has a word",
    faults=(
        # Written against layers without masks of their own, or against parts/sanm.py: sanm_vad has its own.
        Seeds("sanm_encoder", "encoder", without=(
            "positions_from_0", "positions_interleaved", "positions_divisor", "scale_after_positions",
            "residual_in_first_block", "heads_interleaved", "attention_unscaled", "no_fsmn_residual",
            "double_fsmn_residual", "no_block_residual", "float16_block", "no_attention_mask",
            "eps_1e-5", "one_eps",  # words are embedded 16 times as large as eps could move
        )),
        Seeds("sanm_vad", "encoder"),
        Seeds("mini_sentences"),
        # A stream's text has neither capitals nor ASCII marks.
        Seeds("marked_text", without=(
            "cut_with_hmm", "full_width_after_english", "capital_keeps_the_tail", "no_capitals", "no_leading_space",
            "unknown_mark_dropped", "mark_behind_the_comma", "no_mark_at_the_end", "end_not_in_the_marks",
            "ones_behind_words",
        )),
        Seeds("streamed_marks"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding"),
    invariance=tuple(row for row in BATCHED_TEXTS if row != "compiled blocks"),
    scored="mark",
    words={
        "mark": "marks", "window": "windows", "text": "texts", "utterance": "texts", "frame": "words",
        "given": "words",
    },
    notes=(
        "A text is given in calls, parted by |, on one cache; taps hold all windows of all calls, a row a word.",
        "Both sides run as FunASR: the marks of a call are those of its last window, words that are read again among "
        "them.",
    ),
    takes=TEXTS,
)  # fmt: skip
