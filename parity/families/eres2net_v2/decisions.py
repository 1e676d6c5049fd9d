"""What an ERes2NetV2's embeddings decide: as CAM++'s."""

from __future__ import annotations

from parity.families.campplus import decisions


class Decisions(decisions.Decisions):
    """Pairs of recordings, nearest recordings, labels of windows."""
