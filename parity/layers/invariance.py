"""What a result must not depend on: batch, padding, precision, device, compilation, file format, order. One row each.

The candidate is held against itself, so these need no reference. Rows are exact in what the arg-max decides; scores may
move by float32 rounding (`limit`). A family's table names its rows; where FunASR differs from itself, its trace says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.audio.files import load_audio
from mlx_model.files.scratch import scratch
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.machine.device import on_gpu
from parity.sides.candidate import Candidate
from parity.taps.swap import swapped
from parity.taps.trace import Trace
from reports.schema import InvarianceRow

BATCH = "batch composition"
UTTERANCES = 4  # so many are enough to have different lengths in a batch
# Max abs between two orders of summation; the bar of the batch benchmark. Large scores (a random model's reach 70) lie
# further apart where both are right: then it is `apart` of the family's decisions, from the reference's own rounding.
LOGITS_LIMIT = {"float32": 1e-4}
PADDING_S = 2.0
LANES = 2
STREAM_MS, FEED = 200, 777  # a stream's chunks, and how many samples it is given at once
FORMATS = (
    ("WAV", "FLOAT", "wav"),
    ("FLAC", "PCM_24", "flac"),
    ("AIFF", "FLOAT", "aiff"),
)  # lossless: FLAC where the samples are 24-bit ones
AS_USERS_RUN_IT = ("CPU engine", "GPU path", "lanes")  # rows of what users run, held against the plain modules
CHUNK = 2  # files decoded at once where their order is turned
LARGEST_HALF_ON_CPU = 20_000_000  # parameters
Logits = list[np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A candidate, waveforms (or texts), and the results (`alone`) that every row is held against: one at a time.

    `kind` is what the arg-max of a result decides; `apart`, how far two right results may lie apart on this audio.
    """

    candidate: Candidate
    kind: str
    waveforms: Sequence[np.ndarray]
    alone: Logits
    apart: float = 0.0

    def row(self, name: str, other: Logits, detail: str) -> InvarianceRow:
        """Return the row of other results of the same waveforms."""
        return row(name, self, other, detail)


def invariance(
    names: Sequence[str], kind: str, candidate: Candidate, trace: Trace, apart: float = 0.0
) -> list[InvarianceRow]:
    """Return the rows of those names, of a candidate whose scores decide `kind`, and FunASR's own from the trace."""
    waveforms = [candidate.given(trace, row) for row in trace.utterances[:UTTERANCES]]
    if len(waveforms) == 1 and BATCH in names:  # a batch needs two, of different length
        waveforms.append(waveforms[0][: 2 * len(waveforms[0]) // 3])
    alone = [candidate.results([waveform])[0] for waveform in waveforms]
    held = Held(candidate=candidate, kind=kind, waveforms=waveforms, alone=alone, apart=apart)
    ours = [found for name in names for found in ROWS[name](held)]
    theirs = [InvarianceRow(side="reference", status="note", limit=None, **row) for row in trace.meta["reference_rows"]]
    return [*ours, *theirs]


def batched(held: Held) -> list[InvarianceRow]:
    """Compare with all of them in one batch."""
    together = held.candidate.results(held.waveforms)
    return [held.row(BATCH, together, f"{len(held.waveforms)} in one batch")]


def padding(held: Held) -> list[InvarianceRow]:
    """Compare with zeros behind each waveform that its length does not count."""
    extra, words = held.candidate.padding(PADDING_S)
    other = [held.candidate.results([waveform], padding=extra)[0] for waveform in held.waveforms]
    return [held.row("padding length", other, words)]


def order(held: Held) -> list[InvarianceRow]:
    """Compare with the last file first."""
    other = turned(held.candidate, held.waveforms)
    return [held.row("file order", other, f"last file first, in batches of {CHUNK}")]


def turned(candidate: Candidate, waveforms: Sequence[np.ndarray]) -> Logits:
    """Return each waveform's logits, decoded a few at a time, the last first."""
    files = waveforms[::-1]
    chunks = [candidate.results(files[start : start + CHUNK]) for start in range(0, len(files), CHUNK)]
    return [logits for chunk in chunks for logits in chunk][::-1]


def row(name: str, held: Held, other: Logits, detail: str) -> InvarianceRow:
    """Return the row of two results that must be the same."""
    limit = LOGITS_LIMIT.get(held.candidate.precision)
    limit = None if limit is None else max(limit, held.apart)
    changed, largest = difference(held.alone, other)
    failed = changed > 0 or not np.isfinite(largest) or (limit is not None and largest > limit)
    return InvarianceRow(
        name=name,
        side="candidate",
        status="fail" if failed else "pass",
        kind=held.kind,
        compared=sum(map(len, held.alone)),
        differ=changed,
        max_abs=largest,
        limit=limit,
        detail=detail,
    )


def difference(alone: Logits, other: Logits) -> tuple[int, float]:
    """Return how many tokens differ, and the largest difference of a logit."""
    changed, largest = 0, 0.0
    for one, two in zip(alone, other, strict=True):
        both = min(len(one), len(two))
        changed += abs(len(one) - len(two)) + int((one[:both].argmax(-1) != two[:both].argmax(-1)).sum())
        largest = float(np.maximum(largest, np.abs(one[:both] - two[:both]).max(initial=0.0)))  # NaN stays NaN
    return changed, largest


def compiled(held: Held) -> list[InvarianceRow]:
    """Compare with every encoder block under mx.compile."""
    with ExitStack() as stack:
        for block in held.candidate.blocks():
            function = mx.compile(block.__call__)
            stack.enter_context(swapped(block, __call__=lambda self, *given, function=function: function(*given)))
        fused = [held.candidate.results([waveform])[0] for waveform in held.waveforms]
    return [held.row("compiled blocks", fused, "encoder blocks under mx.compile")]


def side_by_side(held: Held) -> list[InvarianceRow]:
    """Compare with the CPU's lanes on; none on a GPU."""
    if on_gpu():
        return []
    side = [held.candidate.results([waveform], lanes=LANES)[0] for waveform in held.waveforms]
    return [held.row("lanes", side, f"rows of a layer side by side in {LANES} lanes")]


def on_engine(held: Held) -> list[InvarianceRow]:
    """Compare with what runs on a CPU where nobody watches single modules."""
    other = held.candidate.on_engine(held.waveforms)
    detail = "kernels of our own on the weights in their file (engines/cpu_engine.c)"
    return [] if other is None else [held.row("CPU engine", other, detail)]


def fused(held: Held) -> list[InvarianceRow]:
    """Compare with what runs on a GPU where nobody watches single modules."""
    other = held.candidate.fused(held.waveforms)
    detail = "few operations in few shapes, fused kernels (engines/gpu_rows.py); as one batch"
    return [] if other is None else [held.row("GPU path", other, detail)]


def eager(held: Held) -> list[InvarianceRow]:
    """Compare with our compiled kernels off."""
    mx.disable_compile()
    try:
        other = [held.candidate.results([waveform])[0] for waveform in held.waveforms]
    finally:
        mx.enable_compile()
    return [held.row("nothing compiled", other, "mx.disable_compile()")]


def arrival(held: Held) -> list[InvarianceRow]:
    """Compare streams given a chunk at a time with the same given a few samples at a time: nothing may change."""
    candidate: Any = held.candidate  # of a family whose candidate has `streamed`
    changed, total, largest = 0, 0, 0.0
    for waveform in held.waveforms:
        (ours, scores), (theirs, others) = (candidate.streamed(waveform, STREAM_MS, feed) for feed in (None, FEED))
        total, changed = total + len(ours), changed + int(not np.array_equal(ours, theirs))
        same = len(scores) == len(others)
        largest = max(largest, float(np.abs(scores - others).max(initial=0.0)) if same else np.inf)
    limit = LOGITS_LIMIT.get(candidate.precision)
    failed = changed > 0 or (limit is not None and not largest <= limit)
    return [
        InvarianceRow(
            name="arrival of samples",
            side="candidate",
            status="fail" if failed else "pass",
            kind="segment",
            compared=total,
            differ=changed,
            max_abs=largest,
            limit=limit,
            detail=f"chunks of {STREAM_MS} ms, given {FEED} samples at a time",
        )
    ]


def in_pieces(held: Held) -> list[InvarianceRow]:
    """Compare with streams that are given a few samples at a time."""
    candidate: Any = held.candidate  # of a family whose candidate has `streamed` for scores
    other = candidate.streamed(held.waveforms, FEED)
    return [held.row("stream in pieces", other, f"a stream that is given {FEED} samples at a time")]


def formats(held: Held) -> list[InvarianceRow]:
    """Compare with the same samples read back from lossless files of other formats."""
    import soundfile

    candidate = held.candidate
    rate = candidate.rate
    other: Logits = []
    used = []
    with scratch("formats") as folder:
        for number, waveform in enumerate(held.waveforms):
            exact = [kind for kind in FORMATS if kind[1] == "FLOAT" or in_24_bits(waveform)]
            container, subtype, suffix = exact[number % len(exact)]
            path = folder / f"{number}.{suffix}"
            soundfile.write(path, waveform, rate, format=container, subtype=subtype)
            other.append(candidate.results([load_audio(path, rate)])[0])
            used.append(f"{container} {subtype}")
    return [held.row("audio format", other, ", ".join(dict.fromkeys(used)))]


def in_24_bits(waveform: np.ndarray) -> bool:
    """Whether a 24-bit file holds these samples exactly: mixed and resampled audio seldom is that."""
    steps = waveform.astype(np.float64) * 2**23
    return bool(np.array_equal(steps, np.rint(steps)) and np.abs(waveform).max(initial=0.0) < 1.0)


def device(held: Held) -> list[InvarianceRow]:
    """Compare the default device with the CPU; on a machine that has only the CPU the row says so."""
    here = mx.default_device()
    if here.type == mx.DeviceType.cpu:
        skipped = held.row("device", held.alone, "only the CPU is here; run `parity check` on the other machine")
        return [dataclasses.replace(skipped, status="skipped", compared=0, max_abs=None)]
    mx.set_default_device(mx.cpu)
    try:
        other = [held.candidate.results([waveform])[0] for waveform in held.waveforms]
    finally:
        mx.set_default_device(here)
    return [held.row("device", other, f"{here} against the CPU")]


def precision(held: Held) -> list[InvarianceRow]:
    """Show what float16 and bfloat16 change: a note each, judged only where NaN appears.

    Left out for candidates that are not float32, and for large ones on a CPU, where MLX has no fast half precision.
    """
    candidate, model = held.candidate, held.candidate.model
    size = sum(value.size for _, value in tree_flatten(model.parameters()))  # pyright: ignore[reportAttributeAccessIssue]
    if candidate.precision != "float32":
        return []
    if not on_gpu() and size > LARGEST_HALF_ON_CPU:
        text = (
            f"{size:,} parameters in half precision on a CPU take minutes; convert with --dtype float16 and check that"
        )
        empty = row("precision", dataclasses.replace(held, alone=[]), [], text)
        return [dataclasses.replace(empty, status="skipped", max_abs=None)]
    parts = candidate.parts()
    kept = [part.parameters() for part in parts]
    rows = []
    for dtype in (mx.float16, mx.bfloat16):
        for part in parts:
            part.set_dtype(dtype)
        try:
            other = [candidate.results([waveform])[0] for waveform in held.waveforms]
        finally:
            for part, parameters in zip(parts, kept, strict=True):
                part.update(parameters)
        name = str(dtype).rpartition(".")[2]
        found = held.row(name, other, _flips(held.alone, other))
        healthy = all(np.isfinite(logits).all() for logits in other)
        rows.append(dataclasses.replace(found, status="note" if healthy else "fail", limit=None))
    return rows


def _flips(alone: Logits, other: Logits) -> str:
    """Return how close the float32 decisions were that change: the top two logits' margin against the logits' move."""
    margins = []
    for one, two in zip(alone, other, strict=True):
        both = min(len(one), len(two))
        for position in np.flatnonzero(one[:both].argmax(-1) != two[:both].argmax(-1)):
            second, best = np.sort(one[position])[-2:]
            margins.append((float(best - second), 2.0 * float(np.abs(one[position] - two[position]).max())))
    if not margins:
        return "no arg-max changes" if [*map(len, alone)] == [*map(len, other)] else "the number of tokens changes"
    within = sum(margin <= moved for margin, moved in margins)
    return f"{len(margins)} change, {within} of them closer than the logits move; widest margin {max(margins)[0]:.2g}"


ROWS: dict[str, Callable[[Held], list[InvarianceRow]]] = {
    BATCH: batched,
    "padding length": padding,
    "file order": order,
    "compiled blocks": compiled,
    "nothing compiled": eager,
    "lanes": side_by_side,
    "CPU engine": on_engine,
    "GPU path": fused,
    "audio format": formats,
    "arrival of samples": arrival,
    "stream in pieces": in_pieces,
    "device": device,
    "precision": precision,
}
