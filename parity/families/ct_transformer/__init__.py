"""CTTransformer's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED_TEXTS, Family, Seeds
from parity.taps.takes import TEXTS

FAMILY = Family(
    name="ct_transformer",
    decided={"mark": "decoder", "window": "end_to_end.windows", "text": "end_to_end.text"},
    nothing="has a word",
    faults=(
        # Words are embedded 16 times as large as a norm's eps could move: it is a structural fact.
        Seeds("sanm_encoder", "encoder", without=("eps_1e-5", "one_eps")),
        Seeds("mini_sentences"),
        Seeds("marked_text"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding"),
    invariance=BATCHED_TEXTS,
    scored="mark",
    words={
        "mark": "marks", "window": "windows", "text": "texts", "utterance": "texts", "frame": "words",
        "given": "words",
    },
    notes=(
        "Taps hold all windows of a text, one behind the other, a row a word; marks are compared in every window, also "
        "those of words that are read again.",
        "Both sides run as FunASR: its words, its ids (case matters), its capitals and its mark at the end.",
    ),
    takes=TEXTS,
)  # fmt: skip
