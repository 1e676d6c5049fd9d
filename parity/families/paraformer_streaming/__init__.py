"""ParaformerStreaming's comparison: its table. No MLX, no torch."""

from parity.families.family import Family

FAMILY = Family(
    name="paraformer_streaming",
    decided={"firing": "predictor.fires", "count": "windows.tokens", "token": "token_ids"},
    nothing="yields a token",
    faults=(),
    facts=("LayerNorm eps", "attention heads", "predictor"),
    invariance=(
        "batch composition",
        "file order",
        "nothing compiled",
        "lanes",
        "CPU engine",
        "audio format",
        "device",
        "precision",
    ),
    scored="token",
    words={"firing": "firings", "count": "token counts", "token": "tokens", "text": "texts"},
)
