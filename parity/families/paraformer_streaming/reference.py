"""FunASR's ParaformerStreaming, window by window: network, what is carried, firings, tokens. Beside torch, without MLX.

Its own `inference` is given a recording chunk by chunk and says which windows there are: their features, which is the
last, what the front end keeps. Those windows then go through `generate_chunk` of both precisions, on caches of their
own (`init_cache`), where every module is watched; both runs of float32 must give the same token ids. Nothing of the
arithmetic is exchanged: `forward_chunk` becomes what a module's call does, so that taps see it, and the alphas, which
FunASR returns to nobody, are read off its frame when it returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from mlx_model.config.chunking import Chunking
from mlx_model.errors import MlxFunasrError
from parity.families.paraformer_streaming import alone, cases
from parity.families.paraformer_streaming.chunking import OPTIONS, asked, numbers, samples_of, turns, words
from parity.families.paraformer_streaming.watching import Overheard, integrals_of, returning
from parity.sides import reference
from parity.sides.pieces import joined
from parity.sides.reference import fbank_tap
from parity.taps.packing import Pair
from parity.taps.swap import swapped
from parity.taps.tap import ARGS
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

PREDICTOR, CONVOLUTION = "predictor", "predictor.cif_conv1d"


class Window(NamedTuple):
    """What FunASR's loop hands to one window: features (1, n, Din), None for a tail without any, and is it the last."""

    feats: Any
    final: bool


class Heard(NamedTuple):
    """What `inference` made of a recording: windows, fbank, the front end's caches after each, ids and text by call."""

    windows: list[Window]
    fbank: np.ndarray
    carried: dict[str, np.ndarray]
    ids: list[int]
    text: str
    calls: list[str]


class Reference(reference.Reference):
    """Both precisions of one FunASR ParaformerStreaming."""

    OPTIONS = OPTIONS

    def __init__(self, *args: Any):
        import torch

        super().__init__(*args)
        torch.set_num_threads(1)  # a window's products are over before a second thread has woken
        self.settings = turns({})

    def ask(self, options: Mapping[str, Any]) -> None:
        """Take a run's options; without any, recordings take turns in several settings."""
        super().ask(options)
        self.settings = turns(options)

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let what FunASR allocates without a type, as the sums of its loop, be float64."""
        return in_float64()

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, texts by call) and the arrays of one file."""
        from mlx_model.audio.files import load_audio

        rate, chunking = self.single.kwargs["frontend"].fs, next(self.settings)
        waveform = load_audio(path, rate)
        heard = self.heard(waveform, chunking)
        single, ids, _ = self.fed(self.single, heard.windows, chunking)
        if ids != heard.ids:
            raise MlxFunasrError(f"{path}: FunASR's inference and its windows alone give other tokens")
        with self.exactly():
            truth, _, calls = self.fed(self.double, heard.windows, chunking)
        inputs, introduced = self.modules(calls, chunking)
        plain = {"waveform": waveform, "fbank": heard.fbank, "chunking": numbers(chunking), **heard.carried}
        plain |= {"feats": _feats(heard.windows), "windows.feats": _counts(heard.windows)}
        plain |= {name: single.pop(name) for name in [*single] if self.collecting.is_discrete(name)}
        plain["token_ids"] = np.array([ids], dtype=np.int32)
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        more = {"calls": heard.calls, "setting": words(chunking)}
        row = {"duration_s": len(waveform) / rate, "text": heard.text, "token_ids": ids, "more": more}
        return row, Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return which windows FunASR makes of streams of odd lengths, and where it fires on weights of a half."""
        windows = {name: self._lengths(waveform) for name, waveform in cases.waveforms().items()}
        return cases.facts(windows, self._halves())

    def _lengths(self, waveform: np.ndarray) -> list[int]:
        """Return the new frames of each window that FunASR makes of a stream; the network is left out."""
        auto, found = self.single, list[int]()

        def generate_chunk(model: Any, speech: Any, /, *args: Any, **kwargs: Any) -> Any:
            found.append(0 if kwargs["cache"]["encoder"]["tail_chunk"] else speech.shape[1])
            return []

        given = {**_options(auto), **asked(cases.CHUNKING), "tokenizer": auto.kwargs["tokenizer"]}
        given |= {"frontend": auto.kwargs["frontend"], "key": ["utt"], "is_final": True, "cache": {}}
        with swapped(auto.model, generate_chunk=generate_chunk):
            auto.model.inference([waveform], **given)
        return found

    def _halves(self) -> list[np.ndarray]:
        """Return where FunASR's predictor fires in two windows whose alphas are all a half."""
        import torch

        predictor = self.single.model.predictor
        runs = alone.Predictor(self.single.model, PREDICTOR, cases.CHUNKING)
        size = predictor.cif_output.weight.shape[1]
        found = []
        with (
            mock.patch.object(predictor.cif_output, "forward", lambda x: torch.zeros(*x.shape[:2], 1)),
            mock.patch.multiple(predictor, smooth_factor=1.0, noise_threshold=0.0),
            watching(self.single.model, [PREDICTOR]) as seen,
            torch.inference_mode(),
        ):
            for frames in (cases.FRAMES, cases.LAST):
                runs(torch.zeros(1, frames, size), final=frames == cases.LAST)
                found.append(seen()[PREDICTOR][3][0])
        return found

    def heard(self, waveform: np.ndarray, chunking: Chunking) -> Heard:
        """Return what FunASR's own `inference` makes of a recording, given a chunk a call; float32."""
        import torch

        auto, cache = self.single, {}
        tokenizer = Overheard(auto.kwargs["tokenizer"])
        given = {**_options(auto), **asked(chunking), "tokenizer": tokenizer, "frontend": auto.kwargs["frontend"]}
        windows: list[Window] = []
        carried: list[dict[str, list[np.ndarray]]] = []
        calls: list[str] = []
        cls: Any = type(auto.model)

        def generate_chunk(model: Any, speech: Any, /, *args: Any, **kwargs: Any) -> Any:
            caches = kwargs["cache"]
            tail = caches["encoder"]["tail_chunk"]
            windows.append(Window(None if tail else speech.clone(), bool(kwargs["is_final"])))
            carried.append(_front(caches))
            return cls.generate_chunk(model, speech, *args, **kwargs)

        stride = samples_of(chunking)
        starts = range(0, max(len(waveform), 1), stride)
        with torch.inference_mode(), fbank_tap() as fbank, swapped(auto.model, generate_chunk=generate_chunk):
            for first in starts:
                piece = waveform[first : first + stride]
                last = first + stride >= len(waveform)
                calls.append(_text(auto.model.inference([piece], key=["utt"], cache=cache, is_final=last, **given)))
        mel = [part.numpy() for part in fbank]
        return Heard(
            windows,
            np.concatenate(mel)[None] if mel else np.zeros((1, 0, auto.kwargs["frontend"].n_mels), np.float32),
            {name: values[0] for name, values in joined(carried).items()},
            tokenizer.ids,
            _whole(tokenizer),
            calls,
        )

    def fed(
        self, auto: Any, windows: Sequence[Window], chunking: Chunking
    ) -> tuple[dict[str, np.ndarray], list[int], list[dict[str, Any]]]:
        """Return ({tap: array}, token ids, what was seen window by window) of one model on the same windows."""
        import torch

        tokenizer, options = Overheard(auto.kwargs["tokenizer"]), {**_options(auto), **asked(chunking)}
        cache = auto.model.init_cache({}, **options)
        calls: list[dict[str, Any]] = []
        with torch.inference_mode(), watching(auto.model, self.probes) as seen:
            for window in windows:
                self._step(auto, window, cache, tokenizer, options)
                calls.append({**seen(), **alone.carried(auto.model, cache), "final": window.final})
        return self.taps(calls), tokenizer.ids, calls

    def _step(self, auto: Any, window: Window, cache: dict[str, Any], tokenizer: Overheard, options: Any) -> None:
        """Give one window to FunASR, as its loop does."""
        import torch

        dtype = next(auto.model.parameters()).dtype
        speech = cache["encoder"]["feats"] if window.feats is None else window.feats.to(dtype).clone()
        cache["encoder"]["tail_chunk"] = window.feats is None
        lengths, key = torch.tensor([speech.shape[1]]), ["utt"]
        auto.model.generate_chunk(
            speech, lengths, key=key, tokenizer=tokenizer, cache=cache, is_final=window.final, **options
        )

    def taps(self, calls: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Return {tap: array} of what was seen window by window."""
        arrays = [{name: value for name, value in call.items() if _is_tap(name)} for call in calls]
        found = self.collecting.collect(joined(arrays))
        frames = [call["encoder.after_norm"][0].shape[1] for call in calls]
        tokens = [call[PREDICTOR][0].shape[1] for call in calls]
        return {**found, "windows.lengths": _ints(frames), "windows.tokens": _ints(tokens)}

    def modules(
        self, calls: Sequence[Mapping[str, Any]], chunking: Chunking
    ) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return (inputs, {tap: (float64, float32)}) of every isolated module on the truth's inputs, window by window.

        Each has caches of its own, new at the start: what it hands on is part of what it introduces.
        """
        inputs: dict[str, dict[str, np.ndarray]] = {}
        introduced: dict[str, Pair] = {}
        for module, tap in self.isolated:
            ran = [call for call in calls if f"{module}@{ARGS}" in call]
            if not ran:
                continue  # no token: no decoder
            numbers = [number for number in tap.introduced if number.isdigit()]
            given = [
                {number: call[f"{module}@{ARGS}"][0][int(number)].astype(np.float32) for number in numbers}
                for call in ran
            ]
            final = [call["final"] for call in ran]
            with self.exactly():
                truth = self._alone(self.double, module, tap, given, final, chunking)
            single = self._alone(self.single, module, tap, given, final, chunking)
            pairs = {name: Pair.of(value, single[name]) for name, value in truth.items()}
            introduced |= {name: pair for name, pair in pairs.items() if not self.tapset.is_discrete(name)}
            inputs[module] = {number: np.concatenate([each[number] for each in given], axis=1) for number in numbers}
        return inputs, introduced

    def _alone(
        self,
        auto: Any,
        module: str,
        tap: Any,
        given: Sequence[Mapping[str, np.ndarray]],
        final: Sequence[bool],
        chunking: Chunking,
    ) -> dict[str, np.ndarray]:
        """Return {tap: array} of one model's module run alone, window after window, on caches of its own."""
        import torch

        dtype = next(auto.model.parameters()).dtype
        runs = alone.runner(auto.model, module, chunking)
        calls = []
        with torch.inference_mode(), watching(auto.model, self.inside(module)) as seen:
            for each, last in zip(given, final, strict=True):
                runs(*(torch.from_numpy(value.copy()).to(dtype) for value in each.values()), final=last)
                calls.append({**seen(), **runs.carried()})
        return self.tapset.collect_introduced(module, tap, joined(calls), reference=True)


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Let torch's default type be float64."""
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def watching(model: Any, probes: Sequence[str]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Yield what returns all that was seen of a model since it was called last: of one window."""
    with returning(type(model.predictor).forward_chunk) as frames, alone.called(model), tapped(model, probes) as seen:

        def window() -> dict[str, Any]:
            found = {name: _kept(name, value, frames) for name, value in seen.items()}
            seen.clear()
            return found

        yield window


def _kept(name: str, value: Any, frames: Sequence[dict[str, Any]]) -> Any:
    """Return what counts of a module's output: of the predictor, what CIF integrated."""
    if name == PREDICTOR:
        return integrals_of(frames[-1])
    if name == CONVOLUTION:
        return [value[0].swapaxes(1, 2)]  # time where all others have it
    return value if name.endswith(f"@{ARGS}") else value[:1]  # a layer returns what it carries as well


def _options(auto: Any) -> dict[str, Any]:
    """Return what AutoModel hands to `inference`, but for what is given apart, and a stream's own settings."""
    apart = ("tokenizer", "frontend", "cache", "is_final", *OPTIONS)
    return {key: value for key, value in auto.kwargs.items() if key not in apart}


def _whole(tokenizer: Overheard) -> str:
    """Return what `inference` prints of all ids, had they come in one call."""
    from funasr.utils.postprocess_utils import sentence_postprocess

    return sentence_postprocess(tokenizer.tokenizer.ids2tokens(tokenizer.ids))[0]


def _text(answer: Any) -> str:
    return str(answer[0][0]["text"])


def _front(caches: Mapping[str, Any]) -> dict[str, list[np.ndarray]]:
    """Return what the front end keeps for the next chunk: samples (1, n), and frames not stacked yet (1, n, M)."""
    cache = caches["frontend"]
    found = {}
    if cache:
        found["frontend.samples"] = [cache["input_cache"].numpy().copy()]
        found["frontend.frames"] = [cache["lfr_splice_cache"][0].numpy().copy()[None]]
    return found


def _is_tap(name: str) -> bool:
    return name != "final" and not name.endswith(f"@{ARGS}")


def _feats(windows: Sequence[Window]) -> np.ndarray:
    parts = [window.feats.numpy() for window in windows if window.feats is not None]
    return np.concatenate(parts, axis=1)


def _counts(windows: Sequence[Window]) -> np.ndarray:
    return _ints([0 if window.feats is None else window.feats.shape[1] for window in windows])


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)
