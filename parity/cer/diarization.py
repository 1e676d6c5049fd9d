"""Who spoke when, and who said what, against a reference: DER and JER by pyannote.metrics, cpCER.

RTTM says who spoke when; STM (`FILE CHANNEL SPEAKER START END [<LABEL>] TEXT`) also what. cpCER is what meeteval calls
cpWER, of characters: each speaker's text in one piece, speakers matched so that there are as few errors as can be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from mlx_model.errors import DatasetError, DependencyError, UsageError
from mlx_model.text.speakers import read_rttm
from parity.cer.normalize import DEFAULT, find_normalizer
from parity.cer.score import edits
from parity.cer.units import find_unit

LABEL = re.compile(r"<[^>\s]*>")


class Said(NamedTuple):
    """One turn; `text` is None where the file says nothing of it."""

    start_s: float
    end_s: float
    speaker: str
    text: str | None


Recordings = Mapping[str, Sequence[Said]]


def score_speakers(
    ref: Path, hyp: Path, *, collar_s: float = 0.0, skip_overlap: bool = False, normalize: str = DEFAULT
) -> dict[str, Any]:
    """Return `der` and its parts, `jer`, where both files hold texts `cpcer`, and the same of every recording.

    Every recording of the reference counts; one that `hyp` lacks is missed as a whole. DER and JER are of all time
    together, as NIST's md-eval has it, cpCER of all characters.

    Args:
        ref, hyp: RTTM, or STM.
        collar_s: what is not scored on either side of every border of the reference, as md-eval's -c.
        skip_overlap: leave out where several speak.
        normalize: of texts, see `cer`.

    Raises:
        UsageError: a collar below 0, an unknown normaliser.
        DatasetError: a file that is neither, or the two share no recording.
        DependencyError: the extra `speakers` is not installed.
    """
    if not 0 <= collar_s < float("inf"):
        raise UsageError(f"a collar of {collar_s:g} s: expected 0 or more")
    reference, heard = read_turns(ref), read_turns(hyp)
    if not set(reference) & set(heard):
        raise DatasetError(
            f"{hyp} has none of the recordings of {ref} (first: {next(iter(heard))!r} and {next(iter(reference))!r})"
        )
    texts = all(said.text is not None for turns in [*reference.values(), *heard.values()] for said in turns)
    notes = [f"{name!r} is not in {hyp}: all of it is missed" for name in reference if name not in heard]
    surplus = [name for name in heard if name not in reference]
    if surplus:
        notes.append(f"{len(surplus)} recordings have no reference and are not scored (first: {surplus[0]!r})")
    times, rows = _times(reference, heard, 2 * collar_s, skip_overlap)
    missing = sum(name not in heard for name in reference)
    document: dict[str, Any] = {**times, "recordings": len(reference), "missing": missing, "notes": notes}
    if texts:
        counts = {name: cp_errors(turns, heard.get(name, ()), normalize) for name, turns in reference.items()}
        total, length = (sum(pair[place] for pair in counts.values()) for place in (0, 1))
        document |= {"cpcer": total / length if length else None, "cp_errors": total, "reference_length": length}
        for name, (errors, units) in counts.items():
            rows[name] |= {"cpcer": errors / units if units else None}
    return {**document, "results": [{"recording": name, **row} for name, row in rows.items()]}


def read_turns(path: Path) -> dict[str, list[Said]]:
    """Return {recording: its turns} of an RTTM or, by its suffix, an STM file.

    Raises:
        DatasetError: unreadable, empty, or of another format.
    """
    if path.suffix.lower() != ".stm":
        return {name: [Said(*turn, None) for turn in turns] for name, turns in read_rttm(path).items()}
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as STM: {error}") from error
    found: dict[str, list[Said]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith(";;"):
            fields = line.split(maxsplit=5)
            try:
                start, end = float(fields[3]), float(fields[4])
            except (IndexError, ValueError) as error:
                raise DatasetError(
                    f"{path}, line {number}: expected FILE CHANNEL SPEAKER START END TEXT ({error})"
                ) from error
            text = fields[5] if len(fields) > 5 else ""
            label = LABEL.match(text)
            found.setdefault(fields[0], []).append(Said(start, end, fields[2], text[label.end() :] if label else text))
    if not found:
        raise DatasetError(f"{path} holds no turn")
    return found


def _times(
    reference: Recordings, heard: Recordings, collar: float, skip_overlap: bool
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """DER, its parts and JER of all recordings, and DER and JER of each; pyannote's collar is of both sides."""
    try:
        core: Any = import_module("pyannote.core")
        metrics: Any = import_module("pyannote.metrics.diarization")
    except ModuleNotFoundError as error:
        raise DependencyError(f"DER and JER need {error.name}: pip install 'mlx-funasr[speakers]'") from error

    def annotated(turns: Sequence[Said]) -> Any:
        found = core.Annotation()
        for number, turn in enumerate(turns):
            if turn.end_s > turn.start_s:
                found[core.Segment(turn.start_s, turn.end_s), number] = turn.speaker
        return found

    settings: dict[str, Any] = {"collar": collar, "skip_overlap": skip_overlap}
    der, jer = metrics.DiarizationErrorRate(**settings), metrics.JaccardErrorRate(**settings)
    rows: dict[str, dict[str, Any]] = {}
    for name, turns in reference.items():
        truth, found = annotated(turns), annotated(heard.get(name, ()))
        end = max((turn.end_s for turn in [*turns, *heard.get(name, ())]), default=0.0)
        scored = core.Timeline([core.Segment(0, end)])
        rows[name] = {"der": float(der(truth, found, uem=scored)), "jer": float(jer(truth, found, uem=scored)),
                      "speakers": [len(truth.labels()), len(found.labels())]}  # fmt: skip
    parts: Any = der[:]
    seconds = {key.replace(" ", "_") + "_s": float(parts[key]) for key in ("confusion", "missed detection",
                                                                           "false alarm", "total")}  # fmt: skip
    return {"der": float(abs(der)), "jer": float(abs(jer)), **seconds}, rows


def cp_errors(reference: Sequence[Said], heard: Sequence[Said], normalize: str = DEFAULT) -> tuple[int, int]:
    """Return the errors of the best matching of speakers, and the characters of the reference."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    normalizer = find_normalizer(normalize)
    cut = find_unit(normalizer.unit).cut
    truth, found = (
        [cut(normalizer(" ".join(text))) for text in _texts(turns).values()] for turns in (reference, heard)
    )
    size = max(len(truth), len(found))
    truth += [[]] * (size - len(truth))
    found += [[]] * (size - len(found))
    costs = np.array([[edits(one, other) for other in found] for one in truth]).reshape(size, size)
    chosen = linear_sum_assignment(costs)
    return int(costs[chosen].sum()), sum(map(len, truth))


def _texts(turns: Sequence[Said]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for turn in sorted(turns, key=lambda turn: turn.start_s):
        texts.setdefault(turn.speaker, []).append(turn.text or "")
    return texts
