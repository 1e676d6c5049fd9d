"""CTTransformer (ct-punc): embedded words, SAN-M encoder, a label behind every word. Punctuation of whole texts.

Mirrors funasr/models/ct_transformer/model.py::CTTransformer (`punc_forward`, `inference`). Texts are read in windows
(decoding/mini_sentences.py), and the windows of all texts that are ready are one batch, where FunASR takes one text
after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from mlx_model import ops
from mlx_model.config.ct_transformer import CTTransformerConfig
from mlx_model.decoding.mini_sentences import Windows, padded
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx, nn
from mlx_model.ops import Mask
from mlx_model.parts.basic import NarrowLinear, length_mask
from mlx_model.parts.sanm import SANMEncoder
from mlx_model.text import jieba_words, punctuated
from mlx_model.text.results import Punctuated
from mlx_model.text.tokenizer import Tokenizer
from mlx_model.text.word_splitting import Read, checked, funasr_words, read

LAYER_NORM_EPS = 1e-12  # as of the whole Paraformer line
BATCH_WORDS = 8192  # of the windows that are computed at once, padding counted
MOST_WORDS = 20_000  # of a window, which has an end but as FunASR; attention is quadratic


@dataclass(frozen=True, slots=True, kw_only=True)
class PunctuationOptions:
    """What can be asked of a CTTransformer."""

    split_size: int = field(default=20, metadata={"help": "Words of a mini sentence, FunASR's split_size."})

    def __post_init__(self) -> None:
        if not 2 <= self.split_size <= MOST_WORDS:
            raise UsageError(f"split_size = {self.split_size}: expected 2 to {MOST_WORDS} words")


class Model(nn.Module):
    """A CTTransformer. Attributes with parameters carry FunASR's names: embed, encoder, decoder.

    A Punctuator (roles.py). `tokenizer` and `cut` (the dictionary of a model of words) are set by `mlx_model.load`.
    """

    Options: ClassVar[type[PunctuationOptions]] = PunctuationOptions
    Encoder: ClassVar[type[Any]] = SANMEncoder
    tokenizer: Tokenizer

    def __init__(self, config: CTTransformerConfig):
        super().__init__()
        self.config = config
        marks = config.marks
        self.embed = nn.Embedding(config.vocab_size, marks.embed_unit)
        self.encoder = self.Encoder(marks.embed_unit, config.encoder, LAYER_NORM_EPS)
        self.decoder = NarrowLinear(marks.att_unit, len(marks.punc_list))
        self._marks = punctuated.Marks(marks.punc_list, marks.sentence_end_id)
        self._cut: jieba_words.JiebaWords | None = None

    def set_tokens(self, tokens: list[str] | Path) -> None:
        """Set the vocabulary, or read it from the tokens.json that holds it, and the dictionary beside it.

        Raises:
            AssetError: not a vocabulary that fits this model.
        """
        special = dict.fromkeys(("blank_id", "sos", "eos"), -1)  # nothing is decoded
        if isinstance(tokens, Path):
            self.tokenizer = Tokenizer.from_file(tokens, self.config.tokenizer, **special)
            words = tokens.with_name(jieba_words.FILE)
            self._cut = jieba_words.JiebaWords(words) if words.is_file() else None
        else:
            self.tokenizer = Tokenizer(tokens, self.config.tokenizer, **special)
        self._ids = {token: number for number, token in enumerate(self.tokenizer.tokens)}
        self._unknown = self._ids[self.config.tokenizer.unk_symbol]

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision."""
        return self.encoder.after_norm.weight.dtype

    @property
    def mark_names(self) -> Sequence[str]:
        """What each label is called, FunASR's punc_list."""
        return self.config.marks.punc_list

    @property
    def engine(self) -> str:
        """What computes the network here and now, in words; see `numerics.py`."""
        return ops.in_words(self.encoder)

    def words_of(self, text: str, *, as_funasr: bool = False) -> list[str]:
        """Return the words that labels stand for; of ours marks that the text has already are none.

        Raises:
            UsageError: not a text.
            DependencyError: the model's words come from a dictionary, and jieba is not installed.
        """
        return self._read(text, as_funasr).words

    def _read(self, text: str, as_funasr: bool) -> Read:
        if not as_funasr:
            return read(checked(text), self._cut)
        words = funasr_words(checked(text), self._cut)
        return Read(words=words, spaced=[], given=[])

    def ids_of(self, words: Sequence[str], *, as_funasr: bool = False) -> Int[np.ndarray, " T"]:
        """Return the words' ids. The vocabulary is of small letters, and FunASR does not know `Hello` by them."""
        ids = [self._ids.get(word, self._unknown) for word in words]
        if not as_funasr:
            ids = [
                self._ids.get(word.lower(), number) if number == self._unknown else number
                for word, number in zip(words, ids, strict=True)
            ]
        return np.array(ids, np.int32)

    def logits(self, ids: Int[mx.array, "B T"], lengths: Int[mx.array, " B"]) -> Float[mx.array, "B T P"]:
        """Return the logits of every word's label; what stands in the padding means nothing.

        Args:
            ids: words, (B, T), anything in the padding.
            lengths: words of each text, (B,).
        """
        *_, (_, logits) = self.stages(ids, lengths)
        return logits

    def stages(self, ids: Int[mx.array, "B T"], lengths: Int[mx.array, " B"]) -> Iterator[tuple[str, Any]]:
        """Yield each stage's name and what it leaves to be computed, the last one the logits: for `bench` to time."""
        encoder_out = self.encoder(self.embed(ids), mask_of(ids, lengths))
        yield "encoder", encoder_out
        yield "decoder", self.decoder(encoder_out)

    def punctuate(
        self,
        texts: Sequence[str],
        options: PunctuationOptions | None = None,
        *,
        as_funasr: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[Punctuated]:
        """Return each text with its punctuation, in input order; a text's does not depend on what it stands beside.

        Args:
            texts: of any length; without words they are returned as they are.
            options: see `Options`.
            as_funasr: words, ids, labels and text as FunASR's, also where it is wrong.
            progress: is called with how many texts were finished.

        Raises:
            UsageError: not a text; or as FunASR windows grew without end.
            DependencyError: see `words_of`.
        """
        if isinstance(texts, str):
            raise UsageError("texts: a list of texts is expected, not one text")
        size = (options or PunctuationOptions()).split_size
        texts_read = [self._read(text, as_funasr) for text in texts]
        labels = self._marks.labels(as_funasr=as_funasr)
        walks = [
            Windows(len(each.words), size, labels, None if as_funasr else self._marks.forced(each))
            for each in texts_read
        ]
        ids = [self.ids_of(each.words, as_funasr=as_funasr) for each in texts_read]
        self._walk(walks, ids, progress or (lambda finished: None))
        finish = self._as_funasr if as_funasr else self._finished
        return [finish(text, each, walk) for text, each, walk in zip(texts, texts_read, walks, strict=True)]

    def _walk(self, walks: Sequence[Windows], ids: Sequence[np.ndarray], progress: Callable[[int], None]) -> None:
        """Label all texts, the windows of all that are ready at once, longest first."""
        going = [number for number, walk in enumerate(walks) if not walk.done]
        progress(len(walks) - len(going))
        while going:
            sizes = {number: walks[number].stop - walks[number].start for number in going}
            for batch in batches(sizes):
                windows = [ids[number][walks[number].start : walks[number].stop] for number in batch]
                for number, logits in zip(batch, self._labelled(windows), strict=True):
                    walks[number].take(logits)
                progress(sum(walks[number].done for number in batch))
            going = [number for number in going if not walks[number].done]

    def _labelled(self, windows: Sequence[np.ndarray]) -> list[Float[np.ndarray, "T P"]]:
        """Return the logits of each window, in float32."""
        lengths = [len(window) for window in windows]
        logits = self.logits(mx.array(padded(windows)), mx.array(lengths, dtype=mx.int32))
        return [row[:length] for row, length in zip(np.array(logits.astype(mx.float32)), lengths, strict=True)]

    def _finished(self, text: str, each: Read, walk: Windows) -> Punctuated:
        if not each.words:
            return Punctuated(text=text, words=[], punctuation=[], marks=[])
        labels = walk.labels
        if labels[-1] not in self._marks.labels(as_funasr=False).ends and len(each.words) - 1 not in walk.forced:
            labels[-1] = self._marks.end
        surface = punctuated.written(each, labels, self._marks)
        return Punctuated(text=surface.text, words=each.words, punctuation=labels, marks=surface.marks)

    def _as_funasr(self, text: str, each: Read, walk: Windows) -> Punctuated:
        if not each.words:
            return Punctuated(text="", words=[], punctuation=[])
        found, labels = punctuated.as_funasr(each.words, walk.labels, walk.pieces, self._marks)
        if self._cut is not None:
            labels = punctuated.by_character(each.words, labels)
        return Punctuated(text=found, words=each.words, punctuation=labels)


def mask_of(ids: Int[mx.array, "B T"], lengths: Int[mx.array, " B"]) -> Mask:
    """Return where words stand, None where all windows are equally long."""
    sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
    return None if min(sizes) == ids.shape[1] else length_mask(lengths, ids.shape[1])


def check_window(words: int) -> None:
    """Raise UsageError for a window longer than MOST_WORDS."""
    if words > MOST_WORDS:
        raise UsageError(
            f"{words} words without a sentence end or a comma: FunASR's window grows without end. Leave as_funasr out, "
            "or cut the text"
        )


def batches(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Yield the windows to be computed at once, longest first, of at most BATCH_WORDS words each; {number: words}.

    Raises:
        UsageError: see `check_window`.
    """
    order = sorted(sizes, key=lambda number: -sizes[number])
    while order:
        check_window(sizes[order[0]])
        count = max(1, BATCH_WORDS // sizes[order[0]])
        yield order[:count]
        order = order[count:]
