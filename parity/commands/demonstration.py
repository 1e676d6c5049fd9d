"""The proof of the bundled example, for `mlx-funasr demo`: both error rates compared, every layer, and the pages.

Where torch and funasr are not installed, what needs them is left out and said, and the layers are held against a
recorded trace. The conversion is the caller's: parity and convert do not import each other.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from parity.demo import MODEL, SPEECH, TRACE
from reports.console import rated_bar, show_facts, stage_bars, talk


def prove(model: Path, out: Path) -> list[Any]:
    """Return the reports on `model`, a conversion of the bundled checkpoint, each written into a folder of `out`."""
    return [*_characters(model, out), _layers(model, out / "parity")]


def _characters(model: Path, out: Path) -> list[Any]:
    from parity.cer import compare, evaluate

    with rated_bar("recognising", "CER") as progress:
        talk.print("2/4 cer       MLX on the bundled speech", highlight=False)
        reports: list[Any] = [evaluate(model, SPEECH, out=out / "cer-mlx", overwrite=True, progress=progress)]
        if not _reference_installed():
            talk.print("3/4 cer       FunASR skipped: not installed (pip install 'mlx-funasr[reference]')")
            return reports
        talk.print("3/4 cer       FunASR on the same speech, then the two compared", highlight=False)
        funasr = out / "cer-funasr"
        reports += [evaluate(MODEL, SPEECH, engine="funasr", out=funasr, overwrite=True, progress=progress)]
    return [*reports, compare(funasr, out / "cer-mlx", out=out / "cer-compare", overwrite=True)]


def _layers(model: Path, out: Path) -> Any:
    """Compare with FunASR itself where it is installed, else with the bundled trace of it."""
    from parity.layers.run import check, run

    talk.print("4/4 parity    every layer, every firing, every character", highlight=False)
    with stage_bars("reference", "candidate") as progress:
        if _reference_installed():
            return run(MODEL, model, [SPEECH], out=out, progress=progress)
        talk.print(f"              against a recorded trace: {TRACE}", highlight=False)
        return check(model, TRACE, out=out, progress=lambda done: progress("candidate", done))


def _reference_installed() -> bool:
    return find_spec("torch") is not None and find_spec("funasr") is not None


def summarise(documents: list[Any], pages: list[Path], as_json: bool) -> None:
    """Print what was found: JSON on stdout, or a line for each report and where the index is."""
    from reports import schema, terminal

    found = next((document.numerics for document in documents if getattr(document, "numerics", None)), {})
    show_facts("demo/1", as_json, reports=[schema.to_dict(document) for document in documents], numerics=found)
    if not as_json:
        terminal.summary(documents, Console())
    for page in pages[-1:]:
        talk.print(f"Report: {page.resolve()}", highlight=False, soft_wrap=True)
