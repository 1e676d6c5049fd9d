"""SeacoParaformer's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED, Family, Seeds

FAMILY = Family(
    name="seaco_paraformer",
    decided={
        "firing": "predictor.fires",
        "count": "predictor.token_num",
        "filter": "filter.kept",
        "bias": "merge.abstains",
        "token": "token_ids",
        "peak": "predictor.us_peaks",
        "time": "times",
    },
    nothing="yields a token",
    faults=(
        Seeds("frontend"),
        Seeds("sanm_encoder", "encoder"),
        Seeds("cif", "predictor", without=("float32_running_sum", "remainder_lost", "weights_late")),
        Seeds("cif_v3", "predictor"),
        Seeds("lstm", "predictor.blstm"),
        Seeds("sanm_decoder", "decoder"),
        Seeds("seaco"),
        Seeds("tokens"),
        Seeds("peak_times"),
        Seeds("engine", "encoder"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding", "predictor"),
    invariance=BATCHED,
    scored="token",
    words={
        "firing": "firings",
        "count": "token counts",
        "filter": "filters of long lists",
        "bias": "choices between the two decoders",
        "token": "tokens",
        "peak": "peaks",
        "time": "times of words",
        "text": "texts",
    },
    notes=(
        "Distances are from FunASR in float64, its loops included.",
        "Text and times are FunASR's, also where they are wrong (as_funasr).",
        "What is compared of the bias branch is what FunASR has as it listens for the run's hotwords; without any it "
        "does not run. Its layers are compared in the pass over the recogniser's states, the last one.",
        "A token follows from which decoder has it (bias) and, of a long list, from which entries were kept (filter).",
    ),
)
