"""ParaformerStreaming's comparison: its table. No MLX, no torch."""

from parity.families.family import Family

FAMILY = Family(
    name="paraformer_streaming",
    decided={"firing": "predictor.fires", "token": "token_ids"},
    nothing="yields a token",
    faults=(),
    facts=("LayerNorm eps", "attention heads", "predictor"),
    invariance=("nothing compiled", "audio format", "device"),
    scored="token",
    words={"firing": "firings", "token": "tokens", "text": "texts"},
)
