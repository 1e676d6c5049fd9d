"""SenseVoiceSmall: front end, four queries, SAN-M encoder, CTC read out greedily. One file per model family.

What the encoder makes of the queries (parts/queries.py) is read out like any frame, as tags in front of the text.
Mirrors funasr/models/sense_voice/model.py::SenseVoiceSmall.inference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt

from mlx_model import ops
from mlx_model.audio.batching import side_by_side
from mlx_model.config.sense_voice import SenseVoiceConfig
from mlx_model.decoding import ctc_prefix, greedy, timestamps
from mlx_model.decoding.confidence import Certainty, Sureness, certainty
from mlx_model.decoding.greedy import Run
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.basic import length_mask
from mlx_model.parts.ctc import CTC, log_softmax
from mlx_model.parts.frontend import WavFrontend
from mlx_model.parts.queries import LANGUAGE_ROWS, QUERIES, QueryTable
from mlx_model.parts.sanm import SenseVoiceEncoderSmall
from mlx_model.text.confidence import overall, together
from mlx_model.text.pieces import FILE, SentencePieces
from mlx_model.text.results import Alternative, Hypothesis, Word
from mlx_model.text.rich import UNKNOWN_EMOTION, is_tag, plain_text, rich_text, tags_of
from mlx_model.text.tokenizer import Tokenizer

LAYER_NORM_EPS = 1e-5  # torch's own: this line has it where the Paraformer line's copy of the same layers has 1e-12
CANDIDATES = 12  # tokens of a frame that alternatives are made of
FUNASR_UNKNOWN_EMOTION = 25009  # the id that FunASR bans whatever the vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseVoiceOptions:
    """What can be asked of a SenseVoice, by FunASR's names.

    Raises:
        UsageError: a language that the model has no query for.
    """

    language: str = field(default="auto", metadata={"help": f"Of the speech: {', '.join(LANGUAGE_ROWS)}."})
    use_itn: bool = field(default=False, metadata={"help": "Write punctuation, and numbers in digits."})
    ban_emo_unk: bool = field(default=False, metadata={"help": "Always name an emotion."})
    output_timestamp: bool = field(default=False, metadata={"help": "Give the words their times."})
    rich_text: bool = field(default=True, metadata={"help": "Show emotion and events in the text, as emojis."})
    as_funasr: bool = field(default=False, metadata={"help": "As FunASR 1.4.16, also where it is wrong."})

    def __post_init__(self) -> None:
        if self.language not in LANGUAGE_ROWS:
            raise UsageError(f"no language is called {self.language!r}; this model has {', '.join(LANGUAGE_ROWS)}")


class SenseVoiceOutput(NamedTuple):
    """One forward pass; all of it with the four frames of the queries in front."""

    logits: Float[mx.array, "B T V"]
    encoder_out: Float[mx.array, "B T D"]
    lengths: list[int]
    options: SenseVoiceOptions


class Best(NamedTuple):
    """The best token of every frame, padding included, the frames of each, and logits where they are aligned.

    `certainty` of all frames, and how many `alternatives`, where they are asked for.
    """

    tokens: UInt[mx.array, "B T"]
    lengths: list[int]
    logits: Float[mx.array, "B T V"] | None
    certainty: Certainty | None = None
    nbest: int = 0


class Doubt(NamedTuple):
    """Of one token: its posterior, and the entropy (nats) where that was taken."""

    confidence: float
    entropy: float


class Model(nn.Module):
    """A SenseVoiceSmall. Attributes with parameters carry FunASR's names: frontend, embed, encoder, ctc.

    `tokenizer` and `pieces` are set by `mlx_model.load`.
    """

    Options: ClassVar[type[SenseVoiceOptions]] = SenseVoiceOptions
    tokenizer: Tokenizer
    pieces: SentencePieces

    def __init__(self, config: SenseVoiceConfig):
        super().__init__()
        self.config = config
        width = config.frontend.output_size
        self.frontend = WavFrontend(config.frontend)
        self.embed = QueryTable(width)
        self.encoder = SenseVoiceEncoderSmall(width, config.encoder, LAYER_NORM_EPS)
        self.ctc = CTC(config.vocab_size, config.encoder.output_size)

    def set_tokens(self, tokens: list[str] | Path) -> None:
        """Set the tokenizer from the vocabulary, or from the tokens.json that holds it.

        Raises:
            AssetError: not a vocabulary that fits this model.
        """
        special = dict.fromkeys(("blank_id", "sos", "eos"), self.config.blank_id)
        if isinstance(tokens, Path):
            self.tokenizer = Tokenizer.from_file(tokens, self.config.tokenizer, **special)
            self.pieces = SentencePieces(tokens.with_name(FILE))
        else:
            self.tokenizer = Tokenizer(tokens, self.config.tokenizer, **special)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features stay float32 until they enter the encoder."""
        return self.encoder.after_norm.weight.dtype

    @property
    def engine(self) -> str:
        """What computes the network here and now, in words; see `numerics.py`."""
        return ops.in_words(self.encoder, self.ctc)

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and lengths of padded waveforms, float32 or int16; `samples` are their own lengths."""
        return self.frontend.batch(waveforms, samples, dither=dither, seed=seed)

    def features(
        self, waveforms: Sequence[np.ndarray], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and lengths of a batch of waveforms, to be called with; see `WavFrontend`."""
        rows, samples = side_by_side(waveforms)
        return self.features_of(mx.array(rows), samples, dither=dither, seed=seed)

    def __call__(
        self,
        feats: Float[mx.array, "B T Din"],
        lengths: Int[mx.array, " B"],
        options: SenseVoiceOptions | None = None,
    ) -> SenseVoiceOutput:
        """Return logits and what led to them. An utterance's result does not depend on what it is batched with.

        Args:
            feats: features after LFR and CMVN, (B, T, m*M).
            lengths: valid frames of each, (B,).
            options: None: the defaults.
        """
        return self.begin(feats, lengths, options)()

    def begin(
        self,
        feats: Float[mx.array, "B T Din"],
        lengths: Int[mx.array, " B"],
        options: SenseVoiceOptions | None = None,
    ) -> Callable[[], SenseVoiceOutput]:
        """Return the function that computes a batch; a GPU is given all of it at once, a CPU when it is called."""
        options = options or SenseVoiceOptions()
        sizes: list[int] = (lengths + QUERIES).tolist()  # pyright: ignore[reportAssignmentType]
        return functools.partial(self._compute, feats, sizes, options)

    def _compute(
        self, feats: Float[mx.array, "B T Din"], lengths: list[int], options: SenseVoiceOptions
    ) -> SenseVoiceOutput:
        *_, (_, output) = self._stages(feats, lengths, options)
        return output

    def stages(self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"]) -> Iterator[tuple[str, Any]]:
        """Yield each stage's name and what it leaves to be computed, the last one the output: for `bench` to time."""
        sizes: list[int] = (lengths + QUERIES).tolist()  # pyright: ignore[reportAssignmentType]
        yield from self._stages(feats, sizes, SenseVoiceOptions())

    def _stages(
        self, feats: Float[mx.array, "B T Din"], lengths: list[int], options: SenseVoiceOptions
    ) -> Iterator[tuple[str, Any]]:
        x = mx.concatenate([self.queries(options, feats.shape[0]).astype(feats.dtype), feats], axis=1)
        mask = None if min(lengths) == x.shape[1] else length_mask(mx.array(lengths), x.shape[1])
        encoder_out = self.encoder(x, mask)
        yield "encoder", encoder_out
        yield "decoder", SenseVoiceOutput(self.ctc(encoder_out, mask), encoder_out, lengths, options)

    def queries(self, options: SenseVoiceOptions, batch: int) -> Float[mx.array, "B 4 Din"]:
        """Return the rows that stand before the features of every recording of a batch."""
        rows = self.embed(options.language, options.use_itn).astype(self.dtype)
        return mx.broadcast_to(rows, (batch, *rows.shape))

    def logits_of(self, output: SenseVoiceOutput) -> list[Float[np.ndarray, "T V"]]:
        """Return what each recording's frames are read by, padding left out, float32."""
        logits = np.array(output.logits.astype(mx.float32))
        return [row[:length] for row, length in zip(logits, output.lengths, strict=True)]

    def token_ids(self, output: SenseVoiceOutput) -> list[list[int]]:
        """Return what is read out of each recording, tags among it."""
        return [[run.token_id for run in read] for read in self._read(self.best(output))]

    def best(self, output: SenseVoiceOutput, *, confidence: bool = False, nbest: int = 0) -> Best:
        """Return the best token of every frame, being computed; with how sure that is, see `roles.Recognizer`."""
        options, logits = output.options, output.logits
        aligned = logits if options.as_funasr and options.output_timestamp else None
        banned = self._banned(options)
        if banned is not None:
            logits = mx.where(mx.arange(logits.shape[-1]) == banned, mx.array(-mx.inf, logits.dtype), logits)
        tokens = ops.argmax(logits)
        mx.async_eval(tokens)
        sure = None
        if confidence or nbest:
            kept = length_mask(mx.array(output.lengths), tokens.shape[1])
            kept = kept if nbest else kept & (tokens != self.config.blank_id)  # alternatives look at every frame
            sure = certainty(logits, tokens, CANDIDATES if nbest else 0, kept=kept)
        return Best(tokens, output.lengths, aligned, sure, nbest)

    def _banned(self, options: SenseVoiceOptions) -> int | None:
        """The token that may not be read out. FunASR's is always the released vocabulary's, or an IndexError."""
        if not options.ban_emo_unk:
            return None
        if options.as_funasr:
            if self.config.vocab_size <= FUNASR_UNKNOWN_EMOTION:
                raise UsageError(
                    f"ban_emo_unk: FunASR bans id {FUNASR_UNKNOWN_EMOTION}, which a vocabulary of "
                    f"{self.config.vocab_size} has not; without as_funasr the tag is looked up"
                )
            return FUNASR_UNKNOWN_EMOTION
        tag = f"<|{UNKNOWN_EMOTION}|>"
        return self.tokenizer.tokens.index(tag) if tag in self.tokenizer.tokens else None

    def hypotheses(
        self, best: Best, options: SenseVoiceOptions | None = None, *, times: bool = False
    ) -> list[Hypothesis]:
        """Return one Hypothesis per recording; `times`: with `words`, as with `output_timestamp`."""
        options, found = options or SenseVoiceOptions(), []
        sure = [None] * len(best.lengths) if best.certainty is None else best.certainty.rows(best.lengths)
        for row, (read, length, sureness) in enumerate(zip(self._read(best), best.lengths, sure, strict=True)):
            raw = self.tokenizer.decode([run.token_id for run in read])
            doubts = None if sureness is None else [_doubt(run, sureness) for run in read]
            words = None
            if best.logits is not None:
                words = self._funasr_words(raw, best.logits[row, QUERIES:length])
            elif options.output_timestamp or times:
                words = self._words(read, length, doubts)
            heard = self._hypothesis(raw, read, words, options)
            found.append(
                heard if sureness is None else self._judged(heard, doubts or [], sureness, best.nbest, options)
            )
        return found

    def _read(self, best: Best) -> list[list[Run]]:
        tokens = np.array(best.tokens)
        rows = zip(tokens, best.lengths, strict=True)
        return [greedy.runs(row[:length], self.config.blank_id) for row, length in rows]

    def _hypothesis(
        self, raw: str, read: list[Run], words: list[Word] | None, options: SenseVoiceOptions
    ) -> Hypothesis:
        tags = tags_of(self.tokenizer.tokens[run.token_id] for run in read)
        return Hypothesis(
            token_ids=[run.token_id for run in read],
            text=_shown(raw, options),
            words=words,
            language=tags.language,
            emotion=tags.emotion,
            events=tags.events,
        )

    def _judged(
        self, heard: Hypothesis, doubts: list[Doubt], sure: Sureness, nbest: int, options: SenseVoiceOptions
    ) -> Hypothesis:
        """The same with how sure the model is: of all tokens, and of the text's together, tags left out."""
        tokens = self.tokenizer.tokens
        said = [d.confidence for d, token in zip(doubts, heard.token_ids, strict=True) if not is_tag(tokens[token])]
        return replace(
            heard,
            confidence=overall(said),
            confidences=[doubt.confidence for doubt in doubts],
            entropies=[doubt.entropy for doubt in doubts],
            alternatives=self._alternatives(sure, nbest, options) if nbest else None,
        )

    def _alternatives(self, sure: Sureness, nbest: int, options: SenseVoiceOptions) -> list[Alternative]:
        """The likeliest readings of the frames of speech, each behind the tags that are read out of the queries."""
        tags = [run.token_id for run in greedy.runs(sure.top_ids[:QUERIES, 0], self.config.blank_id)]
        ids, scores = sure.top_ids[QUERIES:], sure.top_log_probs[QUERIES:]
        found = [(tags + read, score) for read, score in ctc_prefix.n_best(ids, scores, self.config.blank_id, nbest)]
        return [
            Alternative(token_ids=ids, text=_shown(self.tokenizer.decode(ids), options), score=score)
            for ids, score in found
        ]

    def _words(self, read: list[Run], length: int, doubts: list[Doubt] | None) -> list[Word]:
        frontend, sure = self.config.frontend, doubts or [None] * len(read)
        spoken = [
            (self.tokenizer.tokens[token], Run(token, max(start - QUERIES, 0), end - QUERIES), doubt)
            for (token, start, end), doubt in zip(read, sure, strict=True)
            if not is_tag(self.tokenizer.tokens[token])
        ]
        frame_ms = frontend.lfr_n * frontend.frame_shift
        spans = [(piece, run) for piece, run, _ in spoken]
        words = timestamps.words_of(spans, length - QUERIES, frame_ms)
        return [_word(timed, [doubt for *_, doubt in spoken[slice(*timed.pieces)] if doubt]) for timed in words]

    def _funasr_words(self, raw: str, logits: Float[mx.array, "T V"]) -> list[Word] | None:
        pieces = self.pieces.cut(raw)
        scores, ids = np.array(log_softmax(logits)), self.pieces.ids(pieces)
        found = timestamps.funasr_words(scores, pieces, ids, self.config.blank_id)
        return None if found is None else [_word(timed) for timed in found]


def _word(timed: timestamps.Timed, doubts: Sequence[Doubt] = ()) -> Word:
    confidence = together([doubt.confidence for doubt in doubts])
    return Word(
        text=timed.text, start_ms=timed.start_ms, end_ms=timed.end_ms, spaced=timed.spaced, confidence=confidence
    )


def _shown(raw: str, options: SenseVoiceOptions) -> str:
    return raw if options.as_funasr else rich_text(raw) if options.rich_text else plain_text(raw)


def _doubt(run: Run, sure: Sureness) -> Doubt:
    """How sure a token is: as the frame of its run that is surest of it (measured: parity/cer/README.md)."""
    at = run.start + int(sure.log_probs[run.start : run.end].argmax())
    return Doubt(min(math.exp(float(sure.log_probs[at])), 1.0), float(sure.entropy[at]))
