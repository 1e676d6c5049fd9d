"""FunASR's CTTransformer, recorded: words, ids, windows, every module in each window, marks, text. Beside torch.

A text's network runs in windows (mini sentences, what was left of the one before in front): FunASR's own `inference`
says which, and each goes through the network of both precisions. Taps hold all windows of a text, one behind the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mlx_model.errors import UsageError
from parity.families.ct_transformer import cases
from parity.families.ct_transformer.cases import calls_of
from parity.sides import reference
from parity.sides.halves import computing
from parity.sides.pieces import joined
from parity.taps.packing import Pair
from parity.taps.swap import swapped
from parity.taps.tap import ARGS
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded


class Window(NamedTuple):
    """One run of the network: ids (T,), where a stream's mask turns (0 where it does not), and what was seen."""

    ids: np.ndarray
    corner: int
    seen: dict[str, Any]


class Said(NamedTuple):
    """What FunASR made of a text: the windows of all calls, each call's text and its marks word by word."""

    windows: list[Window]
    texts: list[str]
    punctuation: list[list[int]]


class Reference(reference.Reference):
    """Both precisions of one FunASR CTTransformer."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("split_size",)
    STREAM: ClassVar[bool] = False

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (text, marks, words, windows) and the arrays of one text.

        Raises:
            UsageError: FunASR ends in an error, or makes nothing of it: there is nothing to compare.
        """
        calls = calls_of(path, self.STREAM)
        try:
            said = self.said(self.single, calls)
        except Exception as error:
            raise UsageError(f"{path[:60]!r}: FunASR ends in {type(error).__name__}: {error}"[:300]) from error
        if not said.windows:
            raise UsageError(f"{path[:60]!r}: no word in it, FunASR gives nothing to compare")
        truth = [self._window(self.double, window) for window in said.windows]
        single, exact = (self.collecting.collect(self._joined(each)) for each in (said.windows, truth))
        propagated = {name: Pair.of(value, single[name]) for name, value in exact.items()}
        inputs, introduced = self._introduced(truth)
        ids = [window.ids for window in said.windows]
        plain = {"feats": np.concatenate(ids)[None].astype(np.int32), "windows": _ints([len(each) for each in ids])}
        plain["corners"] = _ints([window.corner for window in said.windows])
        plain["text"] = np.frombuffer(path.encode(), np.uint8)
        text = said.texts[-1] if not self.STREAM else "|".join(said.texts)
        more = {"given": path, "calls": calls, "texts": said.texts, "punctuation": said.punctuation}
        more |= {"words": [self._words(call) for call in calls], "ids": [self._ids(call) for call in calls]}
        row = {"duration_s": 0.0, "text": text, "token_ids": [], "more": more}
        return row, Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)

    def _words(self, text: str) -> list[str]:
        from funasr.models.ct_transformer.utils import split_words

        cut = None if self.STREAM else self.single.model.jieba_usr_dict  # a stream is cut without
        return list(split_words(text, jieba_usr_dict=cut))

    def _ids(self, text: str) -> list[int]:
        return [int(number) for number in self.single.kwargs["tokenizer"].encode(self._words(text))]

    def said(self, auto: Any, calls: Sequence[str], probes: Sequence[str] | None = None) -> Said:
        """Return what FunASR's own `inference` makes of a text's calls, each window watched."""
        import torch

        windows: list[Window] = []
        texts, punctuation, cache = [], [], {}
        watched = self.probes if probes is None else list(probes)
        with tapped(auto.model, watched) as seen, watching(auto.model, windows, seen), torch.inference_mode():
            for call in calls:
                (answer,) = self._infer(auto, call, cache)
                texts.append(str(answer["text"]))
                punctuation.append(_listed(answer["punc_array"]))
        return Said(windows, texts, punctuation)

    def _infer(self, auto: Any, text: str, cache: dict[str, Any]) -> list[dict[str, Any]]:
        options = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "frontend")}
        options |= {**self.options, **({"cache": cache} if self.STREAM else {})}
        options |= {"tokenizer": auto.kwargs["tokenizer"], "frontend": None}
        return auto.model.inference([text], key=["utt"], **options)[0]

    def _window(self, auto: Any, window: Window) -> Window:
        """Return a window as another precision's network sees it."""
        import torch

        with tapped(auto.model, self.probes) as seen, torch.inference_mode():
            auto.model.punc_forward(*self._given(window))
        return Window(window.ids, window.corner, seen)

    def _given(self, window: Window) -> tuple[Any, ...]:
        import torch

        lengths = torch.tensor([len(window.ids)], dtype=torch.int32)
        corner = (torch.tensor([window.corner], dtype=torch.int32),) if self.STREAM else ()
        return (torch.from_numpy(window.ids.astype(np.int64))[None], lengths, *corner)

    def _joined(self, windows: Sequence[Window]) -> dict[str, list[np.ndarray]]:
        """Return what was seen in all windows, without what modules were called with."""
        calls = [
            {name: value[:1] for name, value in window.seen.items() if not name.endswith(f"@{ARGS}")}
            for window in windows
        ]  # of a layer, what it returns, not the mask it hands on
        return joined(calls)

    def _introduced(self, truth: Sequence[Window]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return (inputs, {tap: (float64, float32)}) of isolated modules on the truth's inputs, window by window."""
        inputs: dict[str, dict[str, np.ndarray]] = {}
        introduced: dict[str, Pair] = {}
        for module, tap in self.isolated:
            given = [window.seen[f"{module}@{ARGS}"] for window in truth]
            first = [args[0].astype(np.float32) for args, _ in given]
            calls = [((x, *args[1:]), kwargs) for x, (args, kwargs) in zip(first, given, strict=True)]
            sides = [self._alone(auto, module, tap, calls) for auto in (self.double, self.single)]
            pairs = {name: Pair.of(value, sides[1][name]) for name, value in sides[0].items()}
            for half, auto in self.halves:
                with self.halves.trying(half), computing(auto):
                    found = self._alone(auto, module, tap, calls)
                    pairs = {name: self.halves.beside(half, name, pair, found) for name, pair in pairs.items()}
            introduced |= pairs
            inputs[module] = {"0": np.concatenate(first, axis=1)}
        return inputs, introduced

    def _alone(self, auto: Any, module: str, tap: Any, calls: Sequence[Any]) -> dict[str, np.ndarray]:
        """Return {tap: array} of one model's module run alone in every window."""
        import torch

        dtype, seen = next(auto.model.parameters()).dtype, []
        for args, kwargs in calls:
            with tapped(auto.model, self.inside(module)) as one, torch.inference_mode():
                auto.model.get_submodule(module)(*_tensors(args, dtype), **_tensors(kwargs, dtype))
            seen.append({name: value if "@" in name else value[:1] for name, value in one.items()})
        return self.tapset.collect_introduced(module, tap, joined(seen), reference=True)

    def half_taps(self, auto: Any, plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every tap of a half model on one text's windows."""
        stops = np.cumsum(plain["windows"])
        ids = [plain["feats"][0, stop - size : stop] for size, stop in zip(plain["windows"], stops, strict=True)]
        windows = [Window(each, int(at), {}) for each, at in zip(ids, plain["corners"], strict=True)]
        return self.collecting.collect(self._joined([self._window(auto, window) for window in windows]))

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return what FunASR makes of the marks of cases.py."""
        model = self.single.model
        tokens = self.single.kwargs["tokenizer"].token_list
        made: dict[str, cases.Made] = {}
        for case in cases.cases(tokens, model.punc_list, self.STREAM):
            with swapped(model, punc_forward=_made_up):
                said = self.said(self.single, case.calls, probes=[])
            made[case.name] = cases.Made(
                words=[word for call in case.calls for word in self._words(call)],
                ids=[number for call in case.calls for number in self._ids(call)],
                read=[int(number) for window in said.windows for number in window.ids],
                windows=[len(window.ids) for window in said.windows],
                punctuation=[mark for call in said.punctuation for mark in call],
                texts=said.texts,
            )
        return cases.facts(made)


def _made_up(self: Any, text: Any, text_lengths: Any, vad_indexes: Any = None) -> tuple[Any, None]:
    """Return scores in which a word's mark follows from its id, as `punc_forward` returns its own."""
    import torch

    return torch.from_numpy(cases.scores(text.numpy(), len(self.punc_list))), None


@contextlib.contextmanager
def watching(model: Any, windows: list[Window], seen: dict[str, Any]) -> Iterator[None]:
    """Keep every window that the network is run on, with what is seen in it, as long as the block lasts."""
    forward = type(model).punc_forward

    def punc_forward(self: Any, text: Any, text_lengths: Any, vad_indexes: Any = None) -> Any:
        given = (text, text_lengths) if vad_indexes is None else (text, text_lengths, vad_indexes)
        output = forward(self, *given)
        corner = 0 if vad_indexes is None else int(vad_indexes[0])
        windows.append(Window(text[0].numpy().copy(), corner, dict(seen)))
        seen.clear()
        return output

    with swapped(model, punc_forward=punc_forward):
        yield


def _tensors(value: Any, dtype: Any) -> Any:
    """Return what a module was called with as tensors, whatever it stands in; numbers in the model's precision."""
    import torch

    if isinstance(value, np.ndarray):
        made = torch.from_numpy(value.copy())
        return made.to(dtype) if made.is_floating_point() else made
    if isinstance(value, dict):
        return {key: _tensors(item, dtype) for key, item in value.items()}
    return type(value)(_tensors(item, dtype) for item in value) if isinstance(value, (list, tuple)) else value


def _listed(marks: Any) -> list[int]:
    return [] if marks is None else [int(mark) for mark in np.ravel(marks)]


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)
