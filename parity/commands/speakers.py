"""`mlx-funasr speakers score`: who was wrongly said to speak, against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports.console import Json, show_facts, talk
from reports.streams import put


def score(
    ref: Annotated[Path, typer.Argument(metavar="REF", help="Who spoke when: RTTM, or STM with what they said.")],
    hyp: Annotated[Path, typer.Argument(metavar="HYP", help="The same as it was found.")],
    collar: Annotated[float, typer.Option(help="Seconds beside every border of REF that are not scored.")] = 0.0,
    skip_overlap: Annotated[bool, typer.Option(help="Leave out where several speak.")] = False,
    normalize: Annotated[str, typer.Option(help="Of texts, as `cer` has them.")] = "aishell",
    json: Json = False,
) -> None:
    """Count who was wrongly said to speak (DER, JER), and with texts what was said by whom (cpCER)."""
    from parity.cer.diarization import score_speakers

    found = score_speakers(ref, hyp, collar_s=collar, skip_overlap=skip_overlap, normalize=normalize)
    notes = found["notes"]
    show_facts("speakers-score/1", json, **found)
    if not json:
        put(f"DER {found['der']:.2%}, JER {found['jer']:.2%} of {found['recordings']} recordings")
        put(f"missed {found['missed_detection_s']:.2f} s, false {found['false_alarm_s']:.2f} s, "
            f"confused {found['confusion_s']:.2f} s, of {found['total_s']:.2f} s")  # fmt: skip
        if "cpcer" in found and found["cpcer"] is not None:
            put(f"cpCER {found['cpcer']:.2%}: {found['cp_errors']} errors in {found['reference_length']} characters")
        for note in notes:
            talk.print(f"note: {note}", highlight=False, emoji=False, soft_wrap=True)
