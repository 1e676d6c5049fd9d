"""A converted FSMN-VAD under test: its features, its network in pieces, its streams. Imports no torch.

A stream is the model's own (`model.stream`); for the time of a run its decision's class is a subclass that writes down
every frame (swap.py), and the functions that its file calls are watched.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from mlx_model import ops
from mlx_model.decoding import vad_decision
from mlx_model.decoding.vad_decision import NoiseFloor
from mlx_model.engines.lanes import exactly
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import watching as watching_modules
from mlx_model.models import fsmn_vad_streaming
from mlx_model.models.fsmn_vad_streaming import RECORDING_CHUNK_MS, Stream
from parity.families.fsmn_vad_streaming import cases
from parity.families.fsmn_vad_streaming.frames import CHUNKS_MS, Frames, columns, edges, flat, table
from parity.sides import candidate
from parity.sides.candidate import Arrays, CandidateRun, Facts, Inputs
from parity.sides.pieces import in_pieces, introduced, pieces
from parity.taps.swap import swapped

FILE = "mlx_model.models.fsmn_vad_streaming"


@dataclass(slots=True)
class Watched:
    """What one stream did: features, silence and levels piece by piece, frames, segments by call."""

    feats: list[np.ndarray] = field(default_factory=list)
    silence: list[np.ndarray] = field(default_factory=list)
    levels: list[np.ndarray] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    calls: list[list[list[int]]] = field(default_factory=list)

    @property
    def frames(self) -> Frames:
        """Every frame's row."""
        return table(self.rows)

    def all(self, what: str) -> np.ndarray:
        """Return all pieces of "silence" or "levels" as one, (T,)."""
        return np.concatenate([np.empty(0), *getattr(self, what)])


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a candidate decides of one recording from the waveform on: whole, and in chunks by their length in ms."""

    whole: Watched
    streams: dict[int, Watched]


class Candidate(candidate.Candidate):
    """Taps, frames, transitions and segments of an FSMN-VAD: plain, unless an engine was asked for (`by`)."""

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return fbank (1, F, M), feats (1, T, m*M), levels (1, T), and feats once more for every length of chunk."""
        self.outcome = self.outcome_of(waveform)
        arrays = {"fbank": np.array(self.model.frontend.fbank(mx.array(waveform)[None]))}
        arrays |= {"feats": _along_time(self.outcome.whole.feats), "levels": self.outcome.whole.all("levels")[None]}
        return arrays | {f"stream.{ms}ms.feats": _along_time(seen.feats) for ms, seen in self.outcome.streams.items()}

    def outcome_of(self, waveform: np.ndarray) -> Outcome:
        """Return what is decided of a waveform, in every way."""
        return Outcome(whole=self.whole(waveform), streams={ms: self.chunks(waveform, ms) for ms in CHUNKS_MS})

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features, run in pieces on one cache."""
        given, cache = mx.array(feats).astype(self.model.dtype), {}
        with self.plainly():
            run = functools.partial(_evaluated, self.model.encoder)
            seen = in_pieces(self.model, self.probes, lambda piece: run(piece, cache), given, watching_modules)
        return self.full_tapset.collect(seen)

    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the network and every decision on what the reference gave to each, and `frontend`'s outcome."""
        taps = self.network(plain["feats"]) | self.silences(plain)
        taps |= columns(self.decided(plain["silence_as_decided"], plain["levels"][0]), "decision")
        return CandidateRun(taps, self.outcome, self.introduced(inputs, steps=steps))

    def column(self, engine: str, plain: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return what one engine computes: taps, every module alone, and what is decided from the waveform on."""
        with self.by(engine):
            taps = self.network(plain["feats"]) | self.silences(plain)
            return CandidateRun(taps, self.outcome_of(plain["waveform"]), self.introduced(inputs, steps=steps))

    def introduced(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of isolated modules, each run on given inputs, in pieces, a cache being new."""
        arrays: dict[str, np.ndarray] = {}
        for name, tap in self.tapset.isolated(self.modules, inputs):
            given = mx.array(inputs[name]["0"]).astype(self.model.dtype)
            probes = self.tapset.introduced_probes(self.modules, [(name, tap)], steps=steps)
            with self.plainly():
                alone = functools.partial(self._alone, name)
                seen = introduced(self.model, tap, probes, alone, given, watching_modules)
            arrays |= self.tapset.collect_introduced(name, tap, seen, reference=False)
        return arrays

    def _alone(self, name: str, piece: mx.array, *cache: dict[str, Any]) -> None:
        """Compute one module as its stack would: given an engine's rows where one computes."""
        _evaluated(self.modules[name], self._entered(name, {"0": piece})["0"], *cache)

    def silences(self, plain: Arrays) -> dict[str, np.ndarray]:
        """Return {tap: silence scores} of the reference's features, in the pieces of every way."""
        counts = {"silence": plain["counts"]}
        counts |= {f"stream.{ms}ms.silence": plain[f"stream.{ms}ms.counts"] for ms in CHUNKS_MS}
        with self.plainly():
            return {name: self.silence(plain["feats"], sizes) for name, sizes in counts.items()}

    def silence(self, feats: np.ndarray, counts: Iterable[int]) -> np.ndarray:
        """Return the silence scores (1, T) of features in pieces of so many frames, on one cache."""
        cache: dict[str, Any] = {}
        scores = [self.model.silence_scores(mx.array(feats[:, first:stop]), cache) for first, stop in pieces(counts)]
        return np.concatenate(scores)[None]

    def decided(self, silence: np.ndarray, levels: np.ndarray) -> Frames:
        """Return what the decision makes of the reference's scores and levels, (T,) each."""
        stream, opts, seen = self.model.stream(), self.model.config.vad_opts, Watched()
        noise = NoiseFloor(opts.noise_frame_num_used_for_snr)
        speech = fsmn_vad_streaming.speech_frames(silence, levels, noise, opts, stream.threshold)
        with watching(stream.decision, seen):
            for index, is_speech in enumerate(speech):
                stream.decision.frame(index, is_speech, index == len(speech) - 1)
        return seen.frames

    def whole(self, waveform: np.ndarray) -> Watched:
        """Return what the model makes of a recording."""
        stream, seen = self.model.stream(chunk_ms=RECORDING_CHUNK_MS, live=False), Watched()
        with self._watched(stream, seen):
            seen.calls.append(stream.feed(waveform, is_final=True))
        return seen

    def chunks(self, waveform: np.ndarray, chunk_ms: int, feed: int | None = None) -> Watched:
        """Return what a stream in chunks of `chunk_ms` makes of it, given `feed` samples at a time (None: a chunk)."""
        stream, seen = self.model.stream(chunk_ms=chunk_ms), Watched()
        step = feed or stream.chunk
        with self._watched(stream, seen):
            for first in range(0, len(waveform), step):
                piece = waveform[first : first + step]
                seen.calls.append(stream.feed(piece, is_final=first + step >= len(waveform)))
        return seen

    @contextmanager
    def _watched(self, stream: Stream, seen: Watched) -> Iterator[None]:
        """Write down what a stream computes and decides, piece by piece."""
        with ExitStack() as stack:
            stack.enter_context(self.plainly())
            stack.enter_context(watching(stream.decision, seen))
            for name, kept in (("decibels", seen.levels), ("speech_frames", None)):
                function = getattr(fsmn_vad_streaming, name)
                stack.enter_context(mock.patch(f"{FILE}.{name}", _noting(function, seen, kept)))
            stack.enter_context(mock.patch.object(type(self.model.frontend), "__call__", _features(self.model, seen)))
            yield

    def streamed(self, waveform: np.ndarray, chunk_ms: int, feed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (segments (N, 3), silence scores (T,)) of a stream given `feed` samples at a time; see `chunks`."""
        seen = self.chunks(waveform, chunk_ms, feed)
        return flat([[part for call in seen.calls for part in call]]), seen.all("silence")

    def results(self, waveforms: Sequence[np.ndarray], *, lanes: int = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each waveform's (T, 2): how far each frame is beyond the edge of being speech, and 0."""
        with exactly(lanes):
            return self._results(waveforms, padding)

    def on_engine(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return the same by the CPU engine; None where it does not compute."""
        return self._by("CPU engine", waveforms)

    def fused(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return the same by the GPU's path; None where it does not compute."""
        return self._by("GPU path", waveforms)

    def _by(self, engine: str, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        if engine not in self.engines():
            return None
        with self.by(engine):
            return self._results(waveforms, 0)

    def _results(self, waveforms: Sequence[np.ndarray], padding: int) -> list[np.ndarray]:
        opts, found = self.model.config.vad_opts, []
        for waveform in waveforms:
            silence = self.whole(np.pad(waveform, (0, padding)).astype(np.float32)).all("silence")
            beyond = edges(silence, opts.speech_2_noise_ratio, opts.speech_noise_thres)
            found.append(np.stack([np.nan_to_num(beyond), np.zeros(len(silence))], axis=1))
        return found

    def parts(self) -> list[nn.Module]:
        """Return the network: the front end stays float32. Its blocks change their caches, so none is compiled."""
        return [self.model.encoder]

    def more_facts(self) -> Facts:
        """Return what is decided on the frames of cases.py."""
        opts = self.model.config.vad_opts
        return {
            "made-up scores": {f"decision.speech.{case.name}": speech(case, opts) for case in cases.frame_cases()},
            "made-up frames": {f"decision.state.{case.name}": states(case, opts) for case in cases.machine_cases()},
        }


def _evaluated(module: Any, *given: Any) -> None:
    output = module(*given)
    mx.eval([ops.leave(part) for part in (output if isinstance(output, tuple) else (output,))])


def speech(case: cases.FrameCase, opts: Any) -> str:
    """Return what the candidate's frame decision makes of a case."""
    opts = dataclasses.replace(opts, **case.options)
    noise = NoiseFloor(opts.noise_frame_num_used_for_snr)
    silence = np.asarray(case.silence, dtype=np.float64)
    return cases.marked(vad_decision.speech_frames(silence, case.levels, noise, opts, opts.speech_noise_thres))


def states(case: cases.MachineCase, opts: Any) -> str:
    """Return what the candidate's machine makes of a case."""
    opts = dataclasses.replace(opts, **case.options)
    machine = vad_decision.Decision(opts, opts.max_end_silence_time - opts.speech_to_sil_time_thres)
    seen = Watched()
    with watching(machine, seen):
        for index, is_speech in enumerate(case.speech.tolist()):
            if machine.state is vad_decision.State.ENDED:
                break
            machine.frame(index, is_speech, index == len(case.speech) - 1)
    return cases.described(seen.frames, [[part.start, part.end] for part in machine.segments])


@contextmanager
def watching(decision: Any, seen: Watched) -> Iterator[None]:
    """Write down every frame that a decision takes in."""
    cls, window = type(decision), type(decision.window)
    changes: list[int] = []

    def add(self: Any, is_speech: bool) -> Any:
        change = window.add(self, is_speech)
        changes.append(change.value)
        return change

    def frame(self: Any, index: int, is_speech: bool, is_last: bool) -> None:
        cls.frame(self, index, is_speech, is_last)
        after = [self.state.value, self.silence, self.start, self.latest, self.ended]
        seen.rows.append([int(is_speech), changes[-1], *after])

    with swapped(decision, frame=frame), swapped(decision.window, add=add):
        yield


def _noting(function: Any, seen: Watched, levels: list[np.ndarray] | None) -> Any:
    """Return a function of the stream's file that notes the levels it returns, or the silence it is given."""

    def noting(*args: Any) -> Any:
        output = function(*args)
        if levels is None:
            seen.silence.append(np.array(args[0]))
        else:
            levels.append(output)
        return output

    return noting


def _features(model: Any, seen: Watched) -> Any:
    """Return the front end's call, with the features that it returns noted."""
    call = type(model.frontend).__call__

    def calling(self: Any, *args: Any, **kwargs: Any) -> Any:
        feats, covered = call(self, *args, **kwargs)
        if feats.shape[1]:
            seen.feats.append(np.array(feats))
        return feats, covered

    return calling


def _along_time(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, axis=1) if parts else np.zeros((1, 0, 0), np.float32)
