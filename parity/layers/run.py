"""`parity run`: record the reference, run the candidate over the same audio, compare, write the report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.audio import load_audio
from mlx_model.errors import UsageError
from parity import reference
from parity.candidate import Candidate
from parity.layers.cif import Differences, firing_differences, token_differences
from parity.layers.compare import FAIL, PASS, Comparison
from parity.layers.tapset import load_tapset
from parity.layers.trace import Trace, TracedUtterance
from reports.environment import describe
from reports.schema import ParityReport, UtteranceRow, write

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".webm"}
LOGITS = "decoder.output_layer"
Progress = Callable[[str, float], None]


def find_audio(paths: Sequence[str | Path], limit: int | None = None) -> list[tuple[str, Path]]:
    """Return (utt_id, path) for files and, recursively, for folders; ids are file stems, made unique by their folder.

    Raises:
        UsageError: a path does not exist, or there is no audio at all.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder; --audio takes recordings or folders of them")
        files += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(f"no recordings in {', '.join(map(str, paths))}; a parity run needs at least one")
    stems = [file.stem for file in files]
    found = [(s if stems.count(s) == 1 else f"{f.parent.name}/{f.name}", f) for s, f in zip(stems, files, strict=True)]
    return found[:limit]


def run(
    src: str | Path,
    model: str | Path,
    audio: Sequence[str | Path],
    *,
    out: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Return the report of FunASR's checkpoint `src` against its conversion `model` over real audio.

    Args:
        src: FunASR directory, model.pt beside its config, or hub id.
        model: what `convert` wrote for it.
        audio: recordings, or folders of them.
        out: folder for parity.json (not written when None).
        limit: at most so many recordings.
        progress: called with ("reference" | "candidate", 1.0) for every utterance done.
    """
    found = find_audio(audio, limit)
    candidate = Candidate(model, load_tapset("paraformer"))
    for _, path in found:
        load_audio(path, candidate.model.config.frontend.fs)  # bad audio is refused before the reference is started
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-trace-") as folder:
        trace = reference.record(
            src, found, Path(folder), progress=None if progress is None else lambda done: progress("reference", done)
        )
        report = compare_trace(trace, candidate, None if progress is None else lambda done: progress("candidate", done))
    if out is not None:
        write(report, Path(out) / "parity.json")
    return report


def check(
    model: str | Path, trace: str | Path, *, out: Path | None = None, progress: Callable[[float], None] | None = None
) -> ParityReport:
    """Return the report of a conversion against a recorded trace; needs neither torch nor funasr."""
    recorded = Trace.open(Path(trace))
    report = compare_trace(recorded, Candidate(model, load_tapset(recorded.meta["family"])), progress)
    if out is not None:
        write(report, Path(out) / "parity.json")
    return report


def compare_trace(trace: Trace, candidate: Candidate, progress: Callable[[float], None] | None = None) -> ParityReport:
    """Return the report of a recorded reference against a candidate."""
    comparison = Comparison(candidate.tapset)
    rows: list[UtteranceRow] = []
    counters = {
        "cif": {"utterances": 0, "firing_mismatches": 0, "explained": 0},
        "tokens": {"compared": 0, "flipped": 0, "explained": 0},
    }
    for utterance in trace.utterances:
        rows.append(_utterance(utterance, trace.arrays(utterance), candidate, comparison, counters))
        if progress is not None:
            progress(1.0)
    taps = comparison.rows()
    facts = structure(candidate)
    failed = next((row.name for row in taps if row.status == FAIL), None)
    failed = failed or next((fact["fact"] for fact in facts if fact["status"] == FAIL), None)
    return ParityReport(
        verdict=PASS if failed is None and taps else FAIL,
        first_failure=failed,
        reference=str(trace.meta["source"]),
        candidate=str(candidate.path),
        taps=taps,
        cif=counters["cif"],
        tokens=counters["tokens"],
        utterances=rows,
        structure=facts,
        notes=notes(candidate),
        environment=describe(reference=trace.meta.get("environment", {})),
    )


def _utterance(
    utterance: TracedUtterance,
    arrays: dict[str, dict[str, np.ndarray]],
    candidate: Candidate,
    comparison: Comparison,
    counters: dict[str, dict[str, int]],
) -> UtteranceRow:
    """Compare one utterance: front end on the waveform, network on the reference's features, text end to end."""
    truth, single = arrays["float64"], arrays["float32"]
    waveform = single["waveform"]
    comparison.add_frontend(utterance.utt_id, single, candidate.frontend(waveform))
    taps = candidate.network(single["feats"])
    firing, tokens = _discrete(truth, single, taps)
    excused = {"predictor.fires", "predictor.token_num"} if firing.count == firing.explained else set()
    excused |= {"token_ids"} if tokens.count == tokens.explained else set()
    comparison.add_network(utterance.utt_id, truth, single, taps, frozenset(excused))
    ids, text = candidate.recognize(waveform)
    comparison.total("end_to_end.token_ids").add_discrete(utterance.utt_id, utterance.token_ids, ids)
    comparison.total("end_to_end.text").add_discrete(utterance.utt_id, [utterance.text], [text])
    _count(counters, firing, tokens, len(utterance.token_ids))
    return UtteranceRow(
        utt_id=utterance.utt_id,
        path=utterance.path,
        duration_s=utterance.duration_s,
        reference_text=utterance.text,
        candidate_text=text,
        reference_token_num=int(single["predictor.token_num"].max()),
        candidate_token_num=int(taps["predictor.token_num"].max()),
        firing_mismatches=firing.count,
        flipped_tokens=tokens.count,
        explanation="; ".join([*firing.lines, *tokens.lines]),
    )


def _discrete(truth: dict[str, Any], single: dict[str, Any], taps: dict[str, Any]) -> tuple[Differences, Differences]:
    firing = firing_differences(
        truth["predictor.alphas"][0],
        single["predictor.alphas"][0],
        single["predictor.fires"][0],
        taps["predictor.fires"][0],
    )
    none = Differences(count=0, explained=0, lines=())
    if LOGITS not in truth:  # no token on the reference's side: the decoder never ran
        return firing, none if LOGITS not in taps else Differences(count=1, explained=0, lines=("tokens from silence",))
    if LOGITS not in taps:
        return firing, Differences(count=len(truth[LOGITS][0]), explained=0, lines=("no tokens at all",))
    return firing, token_differences(truth[LOGITS][0], single[LOGITS][0], taps[LOGITS][0])


def _count(counters: dict[str, dict[str, int]], firing: Differences, tokens: Differences, compared: int) -> None:
    counters["cif"]["utterances"] += 1
    counters["cif"]["firing_mismatches"] += firing.count
    counters["cif"]["explained"] += firing.explained
    counters["tokens"]["compared"] += compared
    counters["tokens"]["flipped"] += tokens.count
    counters["tokens"]["explained"] += tokens.explained


def structure(candidate: Candidate) -> list[dict[str, Any]]:
    """Return facts a distance could miss, asserted as such: every LayerNorm's eps."""
    norms = {name: module.eps for name, module in candidate.model.named_modules() if hasattr(module, "eps")}
    wrong = sorted(name for name, eps in norms.items() if eps != 1e-12)
    return [
        {
            "fact": f"LayerNorm eps is 1e-12 in all {len(norms)} norms",
            "status": FAIL if wrong else PASS,
            "where": wrong[:3],
        }
    ]


def notes(candidate: Candidate) -> list[str]:
    """Return what a reader must know to read the numbers."""
    return [
        f"Candidate precision: {candidate.dtype}.",
        "The network taps are fed the reference's own features, so that the front end's rounding hides no fault; "
        "the end_to_end rows start from the waveform.",
        "Distances are from FunASR in float64. Its CIF still rounds running sums to float32 there.",
        "Dither is 0 on both sides; FunASR runs one utterance at a time.",
    ]
