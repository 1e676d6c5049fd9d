"""Paraformer's pieces of a comparison: CIF, tokens, text, batches. The table; no MLX, no torch."""

from parity.families.family import Family

TABLE = Family(
    name="paraformer",
    funasr_class="Paraformer",
    runner="parity.families.paraformer.runner:ParaformerRunner",
    outcomes="parity.families.paraformer.outcomes:ParaformerOutcomes",
    recorder="parity.families.paraformer.recorder:ParaformerRecorder",
    faults="parity.families.paraformer.faults:FAULTS",
    words={"firing": "firings", "count": "token counts", "token": "tokens", "text": "texts"},
    scored="token",
)
