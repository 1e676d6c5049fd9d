"""FunASR's FSMN-VAD, recorded: network, frames, transitions, segments; whole and in chunks. Beside torch, without MLX.

Its code stays as it is: for the time of a recording the model's class is a subclass that writes down what the methods
it overrides were given and what they changed (swap.py). Dynamic silence is off, so that the model's
own thresholds decide. The network is tapped in pieces of PIECE frames on one cache; the float64 model is the truth.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlx_model.errors import UsageError
from parity.families.fsmn_vad_streaming import cases
from parity.families.fsmn_vad_streaming.frames import CHUNKS_MS, columns, merged, table, words
from parity.sides import reference
from parity.sides.halves import computing
from parity.sides.pieces import in_pieces, introduced
from parity.sides.reference import fbank_tap, given
from parity.taps.packing import Pair
from parity.taps.swap import swap, swapped
from parity.taps.tap import ARGS
from parity.taps.trace import Recorded

OPTIONS = {"dynamic_silence": False}


class Watched:
    """What one `inference` of FunASR's did: features, silence and levels piece by piece, frames, segments by call."""

    def __init__(self) -> None:
        self.feats: list[Any] = []
        self.silence: list[float] = []
        self.levels: list[float] = []
        self.rows: list[list[int]] = []
        self.calls: list[list[list[int]]] = []

    @property
    def counts(self) -> list[int]:
        """The frames of every piece."""
        return [piece.shape[1] for piece in self.feats]


class Reference(reference.Reference):
    """Both precisions of one FunASR FSMN-VAD. One thread: a chunk's products are over before a second one has woken."""

    def __init__(self, *args: Any):
        import torch

        super().__init__(*args)
        torch.set_num_threads(1)
        self.seen: dict[str, Watched] = {}  # of the last file: {tap of silence scores: what FunASR did}
        self.segments: dict[str, dict[str, Any]] = {}  # of every file so far: whole, and in chunks by their length

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, segments whole and in chunks) and the arrays of one file.

        Raises:
            UsageError: the file is shorter than a frame, where FunASR gives nothing to compare.
        """
        import torch

        from mlx_model.audio.files import load_audio

        rate = self.single.kwargs["frontend"].fs
        waveform = load_audio(path, rate)
        with torch.no_grad(), fbank_tap() as fbank:
            whole = self._infer(waveform, None)
            mel = [part.numpy() for part in fbank]
        if not whole.feats:
            raise UsageError(f"{path}: shorter than a frame; FunASR gives nothing to compare")
        with torch.no_grad():
            streams = {ms: self._infer(waveform, ms) for ms in CHUNKS_MS}
            plain = {"waveform": waveform, "fbank": np.concatenate(mel)[None]}
            plain |= self._plain(whole) | {f"stream.{ms}ms.counts": _ints(seen.counts) for ms, seen in streams.items()}
            propagated, inputs = self._propagated(torch.cat(whole.feats, dim=1))
            self.seen = {"silence": whole, **{f"stream.{ms}ms.silence": seen for ms, seen in streams.items()}}
            propagated |= {name: self._silence(seen) for name, seen in self.seen.items()}
            for ms, seen in streams.items():
                plain[f"stream.{ms}ms.frames"] = table(seen.rows)
                feats = torch.cat(seen.feats, dim=1).numpy()
                if not np.array_equal(feats, plain["feats"]):
                    plain[f"stream.{ms}ms.feats"] = feats
            modules = self._introduced(inputs)
        (segments,) = whole.calls
        more = {"segments": segments, "streams": {str(ms): seen.calls for ms, seen in streams.items()}}
        self.segments[path] = more
        row = {"duration_s": len(waveform) / rate, "text": words(segments), "token_ids": [], "more": more}
        return row, Recorded(plain=plain, propagated=propagated, introduced=modules, inputs=inputs)

    def _plain(self, whole: Watched) -> dict[str, np.ndarray]:
        import torch

        arrays = {"feats": torch.cat(whole.feats, dim=1).numpy(), "counts": _ints(whole.counts)}
        arrays |= {"levels": np.array(whole.levels)[None], "silence_as_decided": np.array(whole.silence)}
        return arrays | columns(table(whole.rows), "decision")

    def _infer(self, waveform: np.ndarray, chunk_ms: int | None) -> Watched:
        """Return what FunASR makes of a recording: in its own way with a file, or fed chunk by chunk to a cache."""
        seen = Watched()
        options = {**self.single.kwargs, **OPTIONS}
        with watching(self.single.model, seen):
            if chunk_ms is None:
                seen.calls.append(_value(self.single.model.inference([waveform], key=["utt"], **options)))
                return seen
            step, cache = int(chunk_ms * self.single.kwargs["frontend"].fs / 1000), {}
            for first in range(0, len(waveform), step):
                last = {"is_final": first + step >= len(waveform), "chunk_size": chunk_ms, "cache": cache}
                piece = waveform[first : first + step]
                seen.calls.append(_value(self.single.model.inference([piece], key=["utt"], **options, **last)))
        return seen

    def _propagated(self, feats: Any) -> tuple[dict[str, Pair], dict[str, dict[str, np.ndarray]]]:
        """Return ({tap: (float64, float32)}, inputs of isolated modules) of the network, in pieces on one cache."""
        runs = []
        for auto, x in ((self.double, feats.double()), (self.single, feats)):
            call = functools.partial(auto.model.encoder, cache={})
            runs.append(in_pieces(auto.model, self.probes, call, x))
        inputs = {module: {"0": runs[0].pop(f"{module}@{ARGS}")[0].astype(np.float32)} for module, _ in self.isolated}
        truth, single = map(self.collecting.collect, runs)
        return {name: Pair.of(value, single[name]) for name, value in truth.items()}, inputs

    def _introduced(self, inputs: dict[str, dict[str, np.ndarray]]) -> dict[str, Pair]:
        """Return {tap: (float64, float32)} of every isolated module on the truth's inputs, in pieces on one cache."""
        pairs: dict[str, Pair] = {}
        for module, tap in self.isolated:
            sides = [self._alone(auto, module, tap, inputs[module]["0"]) for auto in (self.double, self.single)]
            found = {name: Pair.of(value, sides[1][name]) for name, value in sides[0].items()}
            for half, auto in self.halves:
                with self.halves.trying(half), computing(auto):
                    taps = self._alone(auto, module, tap, inputs[module]["0"])
                    found = {name: self.halves.beside(half, name, pair, taps) for name, pair in found.items()}
            pairs |= found
        return pairs

    def _alone(self, auto: Any, module: str, tap: Any, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one model's module run alone, in pieces on one cache."""
        call = auto.model.get_submodule(module)
        seen = introduced(auto.model, tap, self.inside(module), call, given(auto, inputs)[0])
        return self.tapset.collect_introduced(module, tap, seen, reference=True)

    def _silence(self, seen: Watched) -> Pair:
        """Return (1, T) of the truth, in the pieces that FunASR made, and of FunASR as it decided."""
        return Pair.of(self._scores(self.double, seen), np.array(seen.silence, dtype=np.float32)[None])

    def _scores(self, auto: Any, seen: Watched) -> np.ndarray:
        """Return the silence scores (1, T) of one model's network, in the pieces that FunASR made, on one cache."""
        import torch

        cache: dict[str, Any] = {}
        dtype, pdfs = next(auto.model.parameters()).dtype, self.single.model.vad_opts.sil_pdf_ids
        with torch.no_grad():
            scores = torch.cat([auto.model.encoder(piece.to(dtype), cache=cache)[0] for piece in seen.feats])
        wide = torch.promote_types(dtype, torch.float32)  # a half precision's probabilities add up in float32, as ours
        return scores[:, pdfs].to(wide).sum(dim=1)[None].numpy()

    def half_taps(self, auto: Any, plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every tap of a half model on one file's features, and the silence scores in FunASR's own pieces."""
        import torch

        feats, _ = given(auto, plain["feats"])
        with torch.no_grad():
            run = in_pieces(auto.model, self.probes, functools.partial(auto.model.encoder, cache={}), feats)
        taps = self.collecting.collect(run)
        return taps | {name: self._scores(auto, seen) for name, seen in self.seen.items()}

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return what FunASR decides on the frames of cases.py."""
        return {
            "made-up scores": {f"decision.speech.{case.name}": self._frame(case) for case in cases.frame_cases()},
            "made-up frames": {f"decision.state.{case.name}": self._machine(case) for case in cases.machine_cases()},
        }

    def against_itself(self, audio: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return how FunASR's own segments in chunks differ from its own of whole recordings."""
        return [self._chunks(ms, audio) for ms in CHUNKS_MS]

    def _chunks(self, chunk_ms: int, audio: Sequence[tuple[str, str]]) -> dict[str, Any]:
        total, differ, shown = 0, 0, ""
        for utt_id, path in audio:
            whole = [tuple(part) for part in self.segments[path]["segments"]]
            chunks = merged(self.segments[path]["streams"][str(chunk_ms)])
            total, moved = total + len(whole), set(whole) ^ set(chunks)
            differ += len(set(whole) - set(chunks)) or len(set(chunks) - set(whole))
            shown = shown or (f"{utt_id}: {words(sorted(moved)[:2])}" if moved else "")
        detail = f"FunASR against its own segments of the whole; {shown or 'all the same'}"
        return {
            "name": f"chunks of {chunk_ms} ms", "kind": "segment", "compared": total, "differ": differ,
            "max_abs": None, "detail": detail,
        }  # fmt: skip

    def _frame(self, case: cases.FrameCase) -> str:
        """Return what FunASR's frame decision makes of a case."""
        import torch

        model = self.single.model
        with _options(model, case.options | {"sil_pdf_ids": [0], "silence_pdf_num": 1}):
            cache = model.init_cache({})
            cache["stats"].scores = torch.from_numpy(case.silence)[None, :, None]
            cache["stats"].decibel = case.levels.tolist()
            states = [model.GetFrameState(t, cache=cache) for t in range(len(case.silence))]
        return cases.marked([state.value == 1 for state in states])

    def _machine(self, case: cases.MachineCase) -> str:
        """Return what FunASR's machine makes of a case."""
        from funasr.models.fsmn_vad_streaming.model import FrameState

        model, seen = self.single.model, Watched()
        with _options(model, case.options), watching(model, seen):
            cache = model.init_cache({})
            _fill(cache["stats"], len(case.speech))
            for index, speech in enumerate(case.speech):
                if cache["stats"].vad_state_machine.value == cases.ENDED:
                    break  # as DetectCommonFrames
                last = index == len(case.speech) - 1
                state = FrameState.kFrameStateSpeech if speech else FrameState.kFrameStateSil
                model.DetectOneFrame(state, index, last, cache=cache)
        shift = model.vad_opts.frame_in_ms
        found = [[part.start_ms // shift, part.end_ms // shift] for part in cache["stats"].output_data_buf]
        return cases.described(table(seen.rows), found)


def _fill(stats: Any, frames: int) -> None:
    """Give FunASR's buffers what they expect to hold of so many frames, beside which the decision is made."""
    import torch

    stats.frm_cnt = frames
    stats.decibel = [0.0] * frames
    stats.scores = torch.zeros(1, frames, 1)
    stats.data_buf_all = torch.zeros((frames + 3) * 160)
    stats.data_buf = stats.data_buf_all


@contextlib.contextmanager
def _options(model: Any, changes: dict[str, Any]) -> Iterator[None]:
    """Let the model have other options for a while."""
    kept = dict(vars(model.vad_opts))
    vars(model.vad_opts).update(changes)
    try:
        yield
    finally:
        vars(model.vad_opts).update(kept)


@contextlib.contextmanager
def watching(model: Any, seen: Watched) -> Iterator[None]:
    """Write down what FunASR's methods are given and change, as long as the block lasts."""
    cls: Any = type(model)

    def init_cache(self: Any, cache: Any = None, **kwargs: Any) -> Any:
        made = cls.init_cache(self, cache, **kwargs)
        detect = type(made["windows_detector"]).DetectOneFrame

        def answering(window: Any, *args: Any, **kwargs: Any) -> Any:
            answer = detect(window, *args, **kwargs)
            window.change = answer.value
            return answer

        swap(made["windows_detector"], DetectOneFrame=answering)
        return made

    def forward(self: Any, feats: Any, *args: Any, **kwargs: Any) -> Any:
        if feats.numel():
            seen.feats.append(feats.clone())
        return cls.forward(self, feats, *args, **kwargs)

    def decibel(self: Any, cache: Any = None, frame_count: int | None = None) -> None:
        cls.ComputeDecibel(self, cache=cache, frame_count=frame_count)
        seen.levels.extend(cache["stats"].decibel[-frame_count:] if frame_count else [])

    def scores(self: Any, feats: Any, cache: Any = None) -> None:
        cls.ComputeScores(self, feats, cache=cache)
        fresh = cache["stats"].scores[0, -feats.shape[1] :]
        seen.silence.extend(sum(frame[pdf].item() for pdf in cache["stats"].sil_pdf_ids) for frame in fresh)

    def frame(self: Any, state: Any, index: int, is_last: bool, cache: Any = None) -> None:
        cls.DetectOneFrame(self, state, index, is_last, cache=cache)
        seen.rows.append(_row(int(state.value == 1), cache))

    watched = {"init_cache": init_cache, "forward": forward, "ComputeDecibel": decibel, "ComputeScores": scores}
    with swapped(model, **watched, DetectOneFrame=frame):
        yield


def _row(speech: int, cache: Any) -> list[int]:
    stats = cache["stats"]
    return [
        speech,
        cache["windows_detector"].change,
        stats.vad_state_machine.value,
        stats.continous_silence_frame_count,
        stats.confirmed_start_frame,
        stats.latest_confirmed_speech_frame,
        stats.number_end_time_detected,
    ]


def _value(answer: Any) -> list[list[int]]:
    return [list(map(int, segment)) for segment in answer[0][0]["value"]]


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)
