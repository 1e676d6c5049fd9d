"""CTTransformerStreaming: a CTTransformer whose words see no future but in the last layer; punctuation as a text comes.

Mirrors funasr/models/ct_transformer_streaming/model.py::CTTransformerStreaming. What a piece of text does not decide is
read again with the next piece: the words behind the last sentence end are the cache. Whole texts it punctuates as a
CTTransformer does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from mlx_model.decoding.mini_sentences import MOST_WAITING, Windows, last_end, padded
from mlx_model.machine.blas import mx
from mlx_model.models.ct_transformer import Model as CTTransformer
from mlx_model.models.ct_transformer import PunctuationOptions, check_window, mask_of
from mlx_model.parts.sanm_vad import SANMVadEncoder
from mlx_model.text import punctuated
from mlx_model.text.punctuated_stream import as_funasr as funasr_piece
from mlx_model.text.results import Punctuated
from mlx_model.text.word_splitting import Read, checked, funasr_words


@dataclass(frozen=True, slots=True, kw_only=True)
class PunctuationCache:
    """What is known of a text between two pieces of it. A value: never changed, and may be used again.

    `words` are those behind the last sentence end, read again with the next piece; `given` the marks that the text had
    behind them; `said` the last character of the text so far.
    """

    words: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    said: str = ""


class Model(CTTransformer):
    """A CTTransformerStreaming. A Punctuator and a StreamingPunctuator (roles.py)."""

    Encoder: ClassVar[type[Any]] = SANMVadEncoder

    def logits(  # a pause more
        self, ids: Int[mx.array, "B T"], lengths: Int[mx.array, " B"], vad_indexes: Int[mx.array, " B"] | None = None
    ) -> Float[mx.array, "B T P"]:
        """Return the logits of every word's label; see `CTTransformer.logits`.

        Args:
            ids: words, (B, T), anything in the padding.
            lengths: words of each text, (B,).
            vad_indexes: words of each in front of a pause, (B,); None: none.
        """
        *_, (_, logits) = self.stages(ids, lengths, vad_indexes)
        return logits

    def stages(
        self, ids: Int[mx.array, "B T"], lengths: Int[mx.array, " B"], vad_indexes: Int[mx.array, " B"] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Yield each stage's name and what it leaves to be computed, the last one the logits: for `bench` to time."""
        pauses = mx.zeros(len(ids), dtype=mx.int32) if vad_indexes is None else vad_indexes
        encoder_out = self.encoder(self.embed(ids), mask_of(ids, lengths), pauses)
        yield "encoder", encoder_out
        yield "decoder", self.decoder(encoder_out)

    def new_cache(self) -> PunctuationCache:
        """Return what a text begins with."""
        return PunctuationCache()

    def punctuate_next(
        self,
        text: str,
        cache: PunctuationCache,
        options: PunctuationOptions | None = None,
        *,
        is_final: bool = False,
        as_funasr: bool = False,
    ) -> tuple[Punctuated, PunctuationCache]:
        """Return the next piece with its punctuation, and the cache for the one after.

        The last word's mark leads the next piece, which decides on it; with `is_final` it is a sentence end, and the
        cache a new one. As FunASR `is_final` changes nothing, and `punctuation` are its labels of the last window.

        Raises:
            UsageError: not a text; or as FunASR the cache grew without end.
            DependencyError: see `words_of`.
        """
        size = (options or PunctuationOptions()).split_size
        if as_funasr:
            return self._next_as_funasr(checked(text), cache, size)
        new = self._read(text, False)
        before = len(cache.words)
        both = Read(
            words=[*cache.words, *new.words],
            spaced=[*(True for _ in cache.words), *new.spaced],
            given=[*cache.given, *new.given],
        )
        if new.lead and before:
            both.given[before - 1] += new.lead
            new = dataclasses.replace(new, lead="")
        if not both.words:
            return Punctuated(text=new.lead, words=[], punctuation=[], marks=[]), cache
        walk = Windows(len(both.words), size, self._marks.labels(as_funasr=False), self._marks.forced(both))
        self._read_on(walk, both.words, before, as_funasr=False)
        return self._said(both, new, walk, cache, is_final)

    def _said(
        self, both: Read, new: Read, walk: Windows, cache: PunctuationCache, is_final: bool
    ) -> tuple[Punctuated, PunctuationCache]:
        labels, of, before = walk.labels, walk.of, len(cache.words)
        if len(both.words) - 1 not in walk.forced:  # it is open, or the end
            labels[-1] = of.none if not is_final else labels[-1] if labels[-1] in of.ends else of.end
        lead = ""
        if before:
            last = Read(words=[both.words[before - 1]], spaced=[True], given=[both.given[before - 1]])
            behind = punctuated.written(last, [labels[before - 1]], self._marks).marks[0]
            lead = behind.removeprefix(cache.given[-1])
        begins = (not cache.said and not lead) or (before > 0 and labels[before - 1] in of.ends)
        said = cache.said + lead
        surface = punctuated.written(new, labels[before:], self._marks, before=said, begins=begins)
        result = Punctuated(
            text=lead + surface.text, words=new.words, punctuation=labels[before:], marks=surface.marks, lead=lead
        )
        if is_final:
            return result, self.new_cache()
        first = self._kept_from(labels, of)
        kept = PunctuationCache(
            words=tuple(both.words[first:]), given=tuple(both.given[first:]), said=(said + surface.text)[-1:]
        )
        return result, kept

    @staticmethod
    def _kept_from(labels: Sequence[int], of: punctuated.Labels) -> int:
        """Return the first word that is read again. FunASR's cache has no end where no sentence has one."""
        end, comma = last_end(labels, of)
        if end < 0 and len(labels) > MOST_WAITING:
            end = max(comma, len(labels) - MOST_WAITING - 1)
        return end + 1

    def _next_as_funasr(self, text: str, cache: PunctuationCache, size: int) -> tuple[Punctuated, PunctuationCache]:
        words = funasr_words("".join(cache.words) + " " + text)  # jieba is ignored here
        before = len(cache.words)
        if len(words) == before:  # FunASR raises, or says nothing
            return Punctuated(text="", words=[], punctuation=[]), cache
        walk = Windows(len(words), size, self._marks.labels(as_funasr=True))
        self._read_on(walk, words, before, as_funasr=True)
        marks = self._marks.spelt
        piece = funasr_piece(words, [marks[label] for label in walk.labels], before, marks)
        result = Punctuated(text=piece.text, words=words[before:], punctuation=walk.last)
        return result, PunctuationCache(words=piece.kept)

    def _read(self, text: str, as_funasr: bool) -> Read:
        if not as_funasr:
            return super()._read(text, as_funasr)
        return Read(words=funasr_words(checked(text)), spaced=[], given=[])  # FunASR ignores a dictionary here

    def _as_funasr(self, text: str, each: Read, walk: Windows) -> Punctuated:
        """FunASR's result of a whole text in one call."""
        if not each.words:
            return Punctuated(text="", words=[], punctuation=[])
        marks = self._marks.spelt
        piece = funasr_piece(each.words, [marks[label] for label in walk.labels], 0, marks)
        return Punctuated(text=piece.text, words=each.words, punctuation=walk.last)

    def _read_on(self, walk: Windows, words: Sequence[str], before: int, *, as_funasr: bool) -> None:
        """Label words, the first `before` of which stand in front of a pause.

        FunASR counts them from the beginning of every window, also where a window begins behind some of them.
        """
        ids = self.ids_of(words, as_funasr=as_funasr)
        while not walk.done:
            check_window(walk.stop - walk.start)
            pause = before if as_funasr else max(before - walk.start, 0)
            walk.take(self._labelled([ids[walk.start : walk.stop]], [pause])[0])

    def _labelled(self, windows: Sequence[np.ndarray], pauses: Sequence[int] = ()) -> list[Float[np.ndarray, "T P"]]:
        lengths = [len(window) for window in windows]
        indexes = mx.array(list(pauses) or [0] * len(windows), dtype=mx.int32)
        logits = self.logits(mx.array(padded(windows)), mx.array(lengths, dtype=mx.int32), indexes)
        return [row[:length] for row, length in zip(np.array(logits.astype(mx.float32)), lengths, strict=True)]
