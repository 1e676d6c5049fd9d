"""FunASR's SenseVoiceSmall: network, token ids, text, times of words, queries. Beside torch, without MLX.

One function is exchanged in the float64 run: FunASR's LayerNorm rounds what it gets to float32 even there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np

from parity.families.sense_voice import cases
from parity.sides import reference
from parity.sides.reference import features, given
from parity.taps.packing import Pair
from parity.taps.tap import ARGS
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

STYLES = {"withitn": True, "woitn": False}


class Reference(reference.Reference):
    """Both precisions of one FunASR SenseVoiceSmall."""

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let norms be computed in the precision of what they get."""
        return exact_norms()

    def half_taps(self, auto: Any, plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every tap of a half model on one file's features."""
        return self._propagated(auto, *given(auto, plain["feats"]))[0]

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, words with times) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        single, heard, _ = self._propagated(self.single, feats, lengths)
        with exact_norms():
            truth, exact, seen = self._propagated(self.double, feats.double(), lengths)
        inputs, introduced = self.introduced(seen)
        plain |= {"token_ids": np.array(heard["ids"], dtype=np.int32)}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        more = {"words": heard["words"], "words_settled": heard["words"] == exact["words"]}
        return {"duration_s": duration, "text": heard["text"], "token_ids": heard["ids"], "more": more}, arrays

    def _propagated(
        self, auto: Any, feats: Any, lengths: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Return ({tap: array}, {text, ids, words}, all that was seen) of one model on its own inputs."""
        tokenizer = Overheard(auto.kwargs["tokenizer"])
        with kept_encoder_out(auto.model) as kept, tapped(auto.model, self.probes) as seen:
            text = infer(auto, feats, lengths, tokenizer)["text"]
        words = timed_words(auto, feats, lengths, kept[0])
        return self.collecting.collect(seen), {"text": text, "ids": tokenizer.ids, "words": words}, seen

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return which rows of the table stand in front of the features, and what is read of the scores of cases.py."""
        model = self.single.model
        rows: dict[str, int] = {}
        for language in model.lid_dict:
            for style, use_itn in STYLES.items():
                found = self._queries(language, use_itn)
                rows |= {language: found[0], "second": found[1], "third": found[2], style: found[3]}
        made_up = {case.name: self._read(case) for case in cases.cases(model.vocab_size)}
        return {"queries": rows, **cases.facts(made_up)}

    def _read(self, case: cases.Case) -> tuple[list[int], cases.Words]:
        """Return the token ids that FunASR reads of a case, and the times it gives to the case's tokens."""
        import torch

        auto, tokenizer = self.single, Spelled(case)
        frames, lengths = len(case.scores), torch.tensor([len(case.scores)])
        feats = torch.zeros(1, frames - cases.QUERIES, auto.model.embed.weight.shape[1])
        encoder_out = (torch.zeros(1, frames, auto.model.encoder_output_size), lengths)

        def log_softmax(encoded: Any) -> Any:
            return torch.from_numpy(case.scores.copy())[None]  # FunASR writes into it

        with mock.patch.object(auto.model.ctc, "log_softmax", log_softmax):
            words = timed_words(auto, feats, lengths - cases.QUERIES, encoder_out, tokenizer)
        return tokenizer.ids, words

    def _queries(self, language: str, use_itn: bool) -> list[int]:
        import torch

        auto, table = self.single, self.single.model.embed.weight
        feats = torch.zeros(1, 1, table.shape[1])
        with tapped(auto.model, [f"encoder@{ARGS}"]) as seen:
            infer(auto, feats, torch.tensor([1]), auto.kwargs["tokenizer"], language=language, use_itn=use_itn)
        queries = seen[f"encoder@{ARGS}"][0][0][0, :-1]
        return [int((table.detach().numpy() == query).all(-1).argmax()) for query in queries]


class Spelled:
    """A tokenizer that makes a case's pieces of any text; `ids` are those it was asked to decode."""

    def __init__(self, case: cases.Case):
        self.case, self.ids = case, list[int]()

    def decode(self, ids: list[int]) -> str:
        """Return a text."""
        self.ids = [int(token) for token in ids]
        return ""

    def text2tokens(self, text: str) -> list[str]:
        """Return the case's pieces."""
        return self.case.pieces

    def tokens2ids(self, pieces: list[str]) -> list[list[int]]:
        """Return the id of each piece."""
        return [[int(piece[1:])] for piece in pieces]


class Overheard:
    """FunASR's tokenizer; `ids` are those that it was last asked to decode, which `inference` does not return."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self.ids = tokenizer, list[int]()

    def decode(self, ids: list[int]) -> str:
        """Return the text."""
        self.ids = [int(token) for token in ids]
        return self.tokenizer.decode(ids)


def infer(auto: Any, feats: Any, lengths: Any, tokenizer: Any, **asked: Any) -> dict[str, Any]:
    """Return FunASR's own `inference` of one utterance's features."""
    import torch

    options = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "frontend")}
    options |= {"data_type": "fbank", **asked}
    with torch.inference_mode():  # the lengths are a copy: FunASR adds the queries to them in place
        results, _ = auto.model.inference(
            feats, lengths.clone(), key=["utt"], tokenizer=tokenizer, frontend=None, **options
        )
    return results[0]


def timed_words(
    auto: Any, feats: Any, lengths: Any, encoder_out: Any, tokenizer: Any = None
) -> list[list[Any]] | None:
    """Return [text, start_ms, end_ms] of each word by FunASR's output_timestamp; None where it gives none, or fails.

    It fails where a piece of the text is several ids. The encoder is not run again.
    """
    with mock.patch.object(auto.model.encoder, "forward", return_value=encoder_out):
        try:
            found = infer(auto, feats, lengths, tokenizer or auto.kwargs["tokenizer"], output_timestamp=True)
        except IndexError:
            return None
    if "words" not in found:
        return None
    return [[word, *times] for word, times in zip(found["words"], found["timestamp"], strict=True)]


@contextlib.contextmanager
def kept_encoder_out(model: Any) -> Iterator[list[Any]]:
    """Yield a list that fills with what the encoder returns."""
    kept: list[Any] = []
    hook = model.encoder.register_forward_hook(lambda module, given, output: kept.append(output))
    try:
        yield kept
    finally:
        hook.remove()


@contextlib.contextmanager
def exact_norms() -> Iterator[None]:
    """Let FunASR's LayerNorm compute in the precision of what it gets."""
    import torch
    from funasr.models.sense_voice import model

    with mock.patch.object(model.LayerNorm, "forward", torch.nn.LayerNorm.forward):
        yield
