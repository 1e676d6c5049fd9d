"""What `quantize --budget` prints for people: the cost of every precision, and the layers that mind most.

A recipe is a document of its own (`recipe/1`, parity/precision), without a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show_recipe(document: Mapping[str, Any], console: Console) -> None:
    """Print what the bits cost: uniform precisions, the recipe, and the layers that mind most."""
    table = Table("weights", "MB", "of full", "tokens changed", "CER, points")
    full, measured = document["full_size_mb"], document["measured"]
    rows = [(f"{row['bits']} bits everywhere" if row["bits"] else "as converted", row) for row in document["uniform"]]
    for name, row in [*rows, ("this recipe", {"size_mb": document["size_mb"], **measured})]:
        points = f"{row['cer']:+.2f} ±{row['cer_se']:.2f}" if "cer" in row else "-"
        table.add_row(name, f"{row['size_mb']:.1f}", f"{row['size_mb'] / full:.3f}", f"{row['tokens']:.0f}", points)
    console.print(table)
    least = min(next(iter(document["errors"].values())), key=int)
    worst = sorted(document["errors"], key=lambda name: -document["errors"][name][least])[:5]
    minds = ", ".join(f"{name} {document['errors'][name][least]:.2g}" for name in worst)
    console.print(f"Error at the logits, alone in {least} bits: {minds}", highlight=False, markup=False)
