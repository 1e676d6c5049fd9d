"""FunASR's ERes2NetV2, recorded: as CAM++, another network in its place. Beside torch."""

from __future__ import annotations

from parity.families.campplus import reference


class Reference(reference.Reference):
    """Both precisions of one FunASR ERes2NetV2."""
