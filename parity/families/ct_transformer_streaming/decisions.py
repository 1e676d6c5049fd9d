"""What a CTTransformerStreaming decides: as a CTTransformer, call by call."""

from __future__ import annotations

from parity.families.ct_transformer import decisions


class Decisions(decisions.Decisions):
    """Marks, windows and texts of a stream's calls."""
