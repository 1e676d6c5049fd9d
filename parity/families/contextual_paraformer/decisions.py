"""What a ContextualParaformer decides: what a Paraformer does. Imports no torch."""

from __future__ import annotations

from parity.families.paraformer import decisions

BRANCH = ("hotwords.", "bias_encoder.")


class Decisions(decisions.Decisions):
    """Firings and counts, then tokens and text."""

    def order(self, names: list[str]) -> list[str]:
        """Return tap names with the hotwords' vectors in front of the decoder, which is given them."""
        branch = [name for name in names if name.startswith(BRANCH)]
        rest = super().order([name for name in names if name not in branch])
        place = next((number for number, name in enumerate(rest) if name.startswith("decoder.")), len(rest))
        return [*rest[:place], *branch, *rest[place:]]
