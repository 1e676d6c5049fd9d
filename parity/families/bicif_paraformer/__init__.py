"""BiCifParaformer's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED, Family, Seeds

FAMILY = Family(
    name="bicif_paraformer",
    decided={
        "firing": "predictor.fires", "count": "predictor.token_num", "token": "token_ids",
        "peak": "predictor.us_peaks", "time": "times",
    },
    nothing="yields a token",
    faults=(
        Seeds("frontend"),
        Seeds("sanm_encoder", "encoder"),
        # What V3 does not do: it has no running sum in float64, and no oracle of its weights.
        Seeds("cif", "predictor", without=("float32_running_sum", "remainder_lost", "weights_late")),
        Seeds("cif_v3", "predictor"),
        Seeds("lstm", "predictor.blstm"),
        Seeds("sanm_decoder", "decoder"),
        Seeds("tokens"),
        Seeds("peak_times"),
        Seeds("engine", "encoder"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding", "predictor"),
    invariance=BATCHED,
    scored="token",
    words={
        "firing": "firings", "count": "token counts", "token": "tokens", "peak": "peaks", "time": "times of words",
        "text": "texts",
    },
    notes=(
        "Distances are from FunASR in float64, its loops included.",
        "Text and times are FunASR's, also where they are wrong (as_funasr). Where times by default are others, the "
        "utterance's explanation says how many and why.",
    ),
)  # fmt: skip
