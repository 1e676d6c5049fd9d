"""How narrow decisions were, by utterance, from a parity report over the same recordings. Stdlib and reports only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlx_model.errors import UsageError
from reports import schema
from reports.schema import ParityReport

NAME = "parity.json"


def margins(folders: Sequence[Path], *, required: bool) -> dict[str, str]:
    """Return {utt_id: explanation} of all parity reports in the folders, of utterances with a decision that differs.

    Raises:
        UsageError: a report cannot be read; or, where one is `required`, there is none.
    """
    found: dict[str, str] = {}
    files = [folder if folder.is_file() else folder / NAME for folder in folders]
    if required and not any(file.is_file() for file in files):
        raise UsageError(f"{files[0]}: no such file; expected the folder of a parity run (parity run ... --out DIR)")
    for file in filter(Path.is_file, files):
        try:
            report = schema.read(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"{file}: not a parity report ({error})") from error
        if not isinstance(report, ParityReport):
            raise UsageError(f"{file}: not a parity report")
        found |= {row.utt_id: row.explanation for row in report.utterances if row.explanation}
    return found
