"""MonotonicAligner's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED, Family, Seeds

FAMILY = Family(
    name="monotonic_aligner",
    decided={"firing": "predictor.us_peaks", "time": "times"},
    nothing="has a text to align",
    faults=(
        Seeds("frontend"),
        Seeds("sanm_encoder", "encoder"),
        Seeds("forced_alignment", "predictor"),
        Seeds("lstm", "predictor.blstm"),
        Seeds("peak_times"),
        Seeds("engine", "encoder"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding"),
    invariance=BATCHED,
    scored="firing",
    words={"firing": "places where a token begins", "time": "times of tokens", "text": "texts with times"},
    notes=(
        "The text of KEY.wav is what --text says, or that of KEY.txt beside it; where there is none, as many tokens of "
        "the vocabulary as FunASR's second head hears. Of a text the network sees the number of tokens alone.",
        "A place fires where the integral of the scaled alphas reaches 1 - 1e-4. Times are FunASR's, in milliseconds, "
        "which follow from where it fires alone.",
    ),
)
