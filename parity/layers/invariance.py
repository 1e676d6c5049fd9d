"""What a result must not depend on: batch, padding, precision, device, compilation, file format, order. One row each.

The candidate is held against itself, so these need no reference. Rows are exact in what the arg-max decides; scores may
move by float32 rounding (`limit`). A family's outcomes say which rows it has, and add the reference's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.audio.files import load_audio
from mlx_model.files.scratch import scratch
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.machine.device import on_gpu
from parity.sides.candidate import Candidate
from parity.taps.trace import Trace
from reports.schema import InvarianceRow

UTTERANCES = 4  # so many are enough to have different lengths in a batch
LOGITS_LIMIT = {"float32": 1e-4}  # max abs between two orders of summation; the bar of the batch benchmark
PADDING_S = 2.0
LANES = 2
FORMATS = (
    ("WAV", "FLOAT", "wav"),
    ("FLAC", "PCM_24", "flac"),
    ("AIFF", "FLOAT", "aiff"),
)  # lossless: FLAC where the samples are 24-bit ones
AS_USERS_RUN_IT = ("CPU engine", "GPU path", "lanes")  # rows of what users run, held against the plain modules
CHUNK = 2  # files decoded at once where their order is turned
LARGEST_HALF_ON_CPU = 20_000_000  # parameters
Logits = list[np.ndarray]


def check_batches(candidate: Candidate, trace: Trace) -> list[InvarianceRow]:
    """Return one row per thing the result must not depend on, of a family that runs batches."""
    waveforms = [trace.waveform(row) for row in trace.utterances[:UTTERANCES]]
    if len(waveforms) == 1:  # a batch needs two, of different length
        waveforms.append(waveforms[0][: 2 * len(waveforms[0]) // 3])
    alone = [candidate.runner.results([waveform])[0] for waveform in waveforms]
    together = candidate.runner.results(waveforms)
    return [
        row("batch composition", candidate, alone, together, f"{len(waveforms)} in one batch"),
        row("padding length", candidate, alone, padded(candidate, waveforms), f"{PADDING_S:g} s of zeros after each"),
        row("file order", candidate, alone, turned(candidate, waveforms), f"last file first, in batches of {CHUNK}"),
        *compiled(candidate, waveforms, alone),
        *as_users_run_it(candidate, waveforms, alone),
        formats(candidate, waveforms, alone),
        device(candidate, waveforms, alone),
        *precision(candidate, waveforms, alone),
    ]


def padded(candidate: Candidate, waveforms: Sequence[np.ndarray]) -> Logits:
    """Return each waveform's logits, alone but with zeros behind it that its length does not count."""
    extra = round(PADDING_S * candidate.model.config.frontend.fs)
    return [candidate.runner.results([waveform], padding=extra)[0] for waveform in waveforms]


def turned(candidate: Candidate, waveforms: Sequence[np.ndarray]) -> Logits:
    """Return each waveform's logits, decoded a few at a time, the last first."""
    files = waveforms[::-1]
    chunks = [candidate.runner.results(files[start : start + CHUNK]) for start in range(0, len(files), CHUNK)]
    return [logits for chunk in chunks for logits in chunk][::-1]


def row(name: str, candidate: Candidate, alone: Logits, other: Logits, detail: str) -> InvarianceRow:
    """Return the row of two results that must be the same."""
    limit = LOGITS_LIMIT.get(candidate.precision)
    changed, largest = difference(alone, other)
    failed = changed > 0 or not np.isfinite(largest) or (limit is not None and largest > limit)
    return InvarianceRow(
        name=name,
        side="candidate",
        status="fail" if failed else "pass",
        tokens=sum(map(len, alone)),
        tokens_differ=changed,
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


def compiled(candidate: Candidate, waveforms: Sequence[np.ndarray], alone: Logits) -> list[InvarianceRow]:
    """Compare with every encoder block under mx.compile, with our compiled kernels off, and with the CPU's lanes on."""
    with ExitStack() as stack:
        for block in candidate.runner.blocks():
            _compile(block, stack)
        fused = [candidate.runner.results([waveform])[0] for waveform in waveforms]
    rows = [
        row("compiled blocks", candidate, alone, fused, "encoder blocks under mx.compile"),
        eager(candidate, waveforms, alone),
    ]
    if on_gpu():
        return rows
    side = [candidate.runner.results([waveform], lanes=LANES)[0] for waveform in waveforms]
    return [*rows, row("lanes", candidate, alone, side, f"rows of a layer side by side in {LANES} lanes")]


def as_users_run_it(candidate: Candidate, waveforms: Sequence[np.ndarray], alone: Logits) -> list[InvarianceRow]:
    """Compare with what runs where nobody watches single modules: kernels of our own on a CPU and on a GPU."""
    ways = {
        "CPU engine": (
            candidate.runner.on_engine,
            "kernels of our own on the weights in their file (cpu_engine.c)",
        ),
        "GPU path": (candidate.runner.fused, "few operations in few shapes, fused kernels (gpu_rows.py); as one batch"),
    }
    results = [(name, way(waveforms), detail) for name, (way, detail) in ways.items()]
    return [row(name, candidate, alone, other, detail) for name, other, detail in results if other is not None]


def eager(candidate: Candidate, waveforms: Sequence[np.ndarray], alone: Logits) -> InvarianceRow:
    """Compare with our compiled kernels off."""
    mx.disable_compile()
    try:
        other = [candidate.runner.results([waveform])[0] for waveform in waveforms]
    finally:
        mx.enable_compile()
    return row("nothing compiled", candidate, alone, other, "mx.disable_compile()")


def _compile(block: Any, stack: ExitStack) -> None:
    """Let one module compute under mx.compile until the stack is closed."""
    cls, function = type(block), mx.compile(block.__call__)
    block.__class__ = type(cls.__name__, (cls,), {"__call__": lambda self, *given: function(*given)})
    stack.callback(setattr, block, "__class__", cls)


def formats(candidate: Candidate, waveforms: Sequence[np.ndarray], alone: Logits) -> InvarianceRow:
    """Compare with the same samples read back from lossless files of other formats."""
    import soundfile

    rate = candidate.model.config.frontend.fs
    other: Logits = []
    used = []
    with scratch("formats") as folder:
        for number, waveform in enumerate(waveforms):
            exact = [kind for kind in FORMATS if kind[1] == "FLOAT" or in_24_bits(waveform)]
            container, subtype, suffix = exact[number % len(exact)]
            path = folder / f"{number}.{suffix}"
            soundfile.write(path, waveform, rate, format=container, subtype=subtype)
            other.append(candidate.runner.results([load_audio(path, rate)])[0])
            used.append(f"{container} {subtype}")
    return row("audio format", candidate, alone, other, ", ".join(dict.fromkeys(used)))


def in_24_bits(waveform: np.ndarray) -> bool:
    """Whether a 24-bit file holds these samples exactly: mixed and resampled audio seldom is that."""
    steps = waveform.astype(np.float64) * 2**23
    return bool(np.array_equal(steps, np.rint(steps)) and np.abs(waveform).max(initial=0.0) < 1.0)


def device(candidate: Candidate, waveforms: Sequence[np.ndarray], alone: Logits) -> InvarianceRow:
    """Compare the default device with the CPU; on a machine that has only the CPU the row says so."""
    here = mx.default_device()
    if here.type == mx.DeviceType.cpu:
        skipped = row(
            "device", candidate, alone, alone, "only the CPU is here; run `parity check` on the other machine"
        )
        return dataclasses.replace(skipped, status="skipped", tokens=0, max_abs=None)
    mx.set_default_device(mx.cpu)
    try:
        other = [candidate.runner.results([waveform])[0] for waveform in waveforms]
    finally:
        mx.set_default_device(here)
    return row("device", candidate, alone, other, f"{here} against the CPU")


def precision(candidate: Candidate, waveforms: Sequence[np.ndarray], alone: Logits) -> list[InvarianceRow]:
    """Show what float16 and bfloat16 change: a note each, judged only where NaN appears.

    Left out for candidates that are not float32, and for large ones on a CPU, where MLX has no fast half precision.
    """
    model = candidate.model
    size = sum(value.size for _, value in tree_flatten(model.parameters()))  # pyright: ignore[reportAttributeAccessIssue]
    if candidate.precision != "float32":
        return []
    if not on_gpu() and size > LARGEST_HALF_ON_CPU:
        text = (
            f"{size:,} parameters in half precision on a CPU take minutes; convert with --dtype float16 and check that"
        )
        empty = row("precision", candidate, [], [], text)
        return [dataclasses.replace(empty, status="skipped", max_abs=None)]
    parts = candidate.runner.parts()
    kept = [part.parameters() for part in parts]
    rows = []
    for dtype in (mx.float16, mx.bfloat16):
        for part in parts:
            part.set_dtype(dtype)
        try:
            other = [candidate.runner.results([waveform])[0] for waveform in waveforms]
        finally:
            for part, parameters in zip(parts, kept, strict=True):
                part.update(parameters)
        name = str(dtype).rpartition(".")[2]
        found = row(name, candidate, alone, other, _flips(alone, other))
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
