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
        "time": "times",
    },
    nothing="yields a token",
    faults=(
        Seeds("frontend"),
        Seeds("sanm_encoder", "encoder"),
        Seeds("sanm_decoder", "decoder"),
        Seeds("seaco"),
        Seeds("tokens"),
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
        "time": "edges of words",
        "text": "texts",
    },
    notes=(
        "Distances are from FunASR in float64, in which its loop over frames integrates.",
        "What is compared of the bias branch is what FunASR has as it listens for the run's hotwords; without any it "
        "does not run. Its layers are compared in the pass over the recogniser's states, the last one.",
        "A token follows from which decoder has it (bias) and, of a long list, from which entries were kept (filter).",
    ),
)
