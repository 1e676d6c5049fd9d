"""ContextualParaformer's comparison: its table. No MLX, no torch."""

from parity.families.family import BATCHED, Family, Seeds

FAMILY = Family(
    name="contextual_paraformer",
    decided={"firing": "predictor.fires", "count": "predictor.token_num", "token": "token_ids"},
    nothing="yields a token",
    faults=(
        Seeds("frontend"),
        Seeds("sanm_encoder", "encoder"),
        Seeds("cif", "predictor"),
        Seeds("sanm_decoder", "decoder"),
        Seeds("contextual", "decoder"),
        Seeds("tokens"),
        Seeds("engine", "encoder"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding", "predictor"),
    invariance=BATCHED,
    scored="token",
    words={"firing": "firings", "count": "token counts", "token": "tokens", "text": "texts"},
    notes=(
        "Distances are from FunASR in float64. Its vectorised CIF would round running sums to float32 even there, so "
        "the truth uses FunASR's own frame-by-frame loop in float64.",
        "Both sides listen for the run's hotwords, as FunASR splits and spells them; without any for the one entry "
        "that every list ends with.",
    ),
)
