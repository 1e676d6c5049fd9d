"""Paraformer: front end, SAN-M encoder, CIF predictor, parallel decoder, arg-max. One file per model family.

Mirrors funasr/models/paraformer/model.py::Paraformer.inference without beam search, language model or timestamps. Its
relatives are subclasses, as in FunASR, with steps of their own: `decode` makes logits of token embeddings, `after` is
what they add behind it, and both get the options that a batch was begun with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt

from mlx_model import ops
from mlx_model.audio.batching import side_by_side
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.decoding import kbest
from mlx_model.decoding.confidence import Certainty, Sureness, certainty
from mlx_model.decoding.flags import flags
from mlx_model.machine.blas import mx, nn
from mlx_model.ops import Mask, TokenMask, masked
from mlx_model.parts.basic import length_mask
from mlx_model.parts.cif import PREDICTORS, CifPredictorBase, Firing
from mlx_model.parts.frontend import WavFrontend
from mlx_model.parts.sanm import ParaformerSANMDecoder, SANMEncoder
from mlx_model.text.confidence import overall
from mlx_model.text.results import Alternative, Hypothesis
from mlx_model.text.token_times import starts_ms
from mlx_model.text.tokenizer import Tokenizer

LAYER_NORM_EPS = 1e-12  # FunASR overrides torch's 1e-5 for the whole Paraformer line


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerOptions:
    """What a caller may ask of a Paraformer: nothing."""


class ParaformerOutput(NamedTuple):
    """One forward pass. logits (B, U, V); token_num (B,); encoder_out (B, T, D); alphas, fires (B, T [+1 tail]).

    `lengths` are the frames of each; `more` is what a subclass adds to it (`Model.after`).
    """

    logits: Float[mx.array, "B U V"]
    token_num: Int[mx.array, " B"]
    encoder_out: Float[mx.array, "B T D"]
    alphas: Float[mx.array, "B T1"]
    fires: Bool[mx.array, "B T1"]
    lengths: list[int]
    options: ParaformerOptions
    more: Any = None


class Listened(NamedTuple):
    """What a batch's recordings hold before tokens are looked at. encoder_out is zero in the padding."""

    encoder_out: Float[mx.array, "B T D"]
    alphas: Float[mx.array, "B T1"]
    firing: Firing

    @property
    def token_num(self) -> Int[mx.array, " B"]:
        """Return how many tokens each recording has."""
        return self.firing.token_num


class Doubts(NamedTuple):
    """How sure the model is of a batch's tokens, the sum of each recording's alphas, and how many readings to give."""

    certainty: Certainty
    alpha_sum: Float[mx.array, " B"]
    nbest: int


class Best(NamedTuple):
    """A batch's best tokens, padding included, how many there are of each recording, and the frames where they fire.

    `lengths`, `more`: as of the output. `doubts` are there where it was asked how sure the model is.
    """

    tokens: UInt[mx.array, "B U"]
    token_num: Int[mx.array, " B"]
    fires: Bool[mx.array, "B T1"]
    lengths: list[int]
    more: Any = None
    doubts: Doubts | None = None


class Model(nn.Module):
    """A Paraformer. Attributes with parameters carry FunASR's names: frontend, encoder, predictor, decoder.

    A Recognizer (roles.py). `tokenizer` is set by `mlx_model.load`. `taken_apart` names the modules of which `listen`
    and `spell` call parts, not the whole; a subclass that has none is not run in these two steps: a GPU computes it
    stage after stage.
    """

    Options: ClassVar[type[Any]] = ParaformerOptions  # a subclass has more of them
    PREDICTORS: ClassVar[Mapping[str, type[CifPredictorBase]]] = PREDICTORS
    tokenizer: Tokenizer
    taken_apart: ClassVar[tuple[str, ...]] = ("predictor",)

    def __init__(self, config: ParaformerConfig):
        super().__init__()
        self.config = config
        self.frontend = WavFrontend(config.frontend)
        self.encoder = SANMEncoder(config.frontend.output_size, config.encoder, LAYER_NORM_EPS)
        self.predictor = self.PREDICTORS[config.predictor_class](config.predictor)
        self.decoder = ParaformerSANMDecoder(
            config.vocab_size, config.encoder.output_size, config.decoder, LAYER_NORM_EPS
        )

    def set_tokens(self, tokens: list[str] | Path) -> None:
        """Set the tokenizer from the vocabulary, or from the tokens.json that holds it.

        Raises:
            AssetError: not a vocabulary that fits this model.
        """
        config = self.config
        special: dict[str, Any] = {"blank_id": config.blank_id, "sos": config.sos, "eos": config.eos, "words": True}
        if isinstance(tokens, Path):
            self.tokenizer = Tokenizer.from_file(tokens, config.tokenizer, **special)
        else:
            self.tokenizer = Tokenizer(tokens, config.tokenizer, **special)

    def compile(self) -> None:
        """Let a GPU compile every new shape of batches: for services and for benchmarks. Nothing on a CPU.

        Saves up to a quarter of the time, most for one short recording. On CUDA the first batches on a machine take a
        minute longer. Weights, and all else that modules hold, are taken as they are now: call it again after a change.
        """
        ops.compile_steps(self)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features stay float32 until they enter the encoder."""
        return self.encoder.after_norm.weight.dtype

    @property
    def engine(self) -> str:
        """What computes the network here and now, in words; see `numerics.py`."""
        ahead = ops.ahead(self)
        return ops.in_words(self.encoder, self.decoder) if ahead is None else ahead.in_words()

    def __call__(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None = None
    ) -> ParaformerOutput:
        """Return logits and what led to them. An utterance's result does not depend on what it is batched with.

        Args:
            feats: features after LFR and CMVN, (B, T, m*M).
            lengths: valid frames of each, (B,).
            options: None: the defaults.
        """
        return self.begin(feats, lengths, options)()

    def begin(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None = None
    ) -> Callable[[], ParaformerOutput]:
        """Start a batch, and return the function that finishes it and returns what a call does.

        A GPU is given all that it can compute before the token counts are known, so that it has work while the host is
        busy with another batch. A CPU starts when the function is called.
        """
        sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
        ahead = ops.ahead(self)
        if ahead is not None:
            return ahead.begin(self, feats, sizes)
        return functools.partial(self._at_once, feats, lengths, options)

    def _at_once(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None
    ) -> ParaformerOutput:
        """Return the output, module after module: what parity watches."""
        *_, (_, output) = self.stages(feats, lengths, options)
        return output

    def stages(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Yield each stage's name and what it leaves to be computed, the last one the output: for `bench` to time."""
        asked: ParaformerOptions = self.Options() if options is None else options
        sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
        mask = None if min(sizes) == feats.shape[1] else length_mask(lengths, feats.shape[1])
        encoder_out = self.encoder(feats, mask)
        yield "encoder", encoder_out
        embeds, token_num, alphas, fires = self.predictor(encoder_out, lengths, mask)
        yield "predictor", (embeds, token_num)
        tokens, logits = embeds.shape[1], self.no_logits(len(feats))
        if tokens > 0:  # else there is nothing but silence in the whole batch
            counts: list[int] = token_num.tolist()  # pyright: ignore[reportAssignmentType]
            tgt_mask = None if min(counts) == tokens else length_mask(token_num, tokens)
            logits = self.decode(embeds, tgt_mask, encoder_out, mask, asked)
        output = ParaformerOutput(logits, token_num, encoder_out, alphas, fires, sizes, asked)
        yield "decoder", output
        yield from self.after(output, mask)

    def decode(
        self,
        embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        encoder_out: Float[mx.array, "B T D"],
        mask: Mask,
        options: ParaformerOptions,
    ) -> Float[mx.array, "B U V"]:
        """Return the logits of every token; not called for a batch in which nothing is said."""
        return self.decoder(embeds, tgt_mask, encoder_out, mask)

    def after(self, output: ParaformerOutput, mask: Mask) -> Iterator[tuple[str, ParaformerOutput]]:
        """Yield stages behind the decoder, each with the output and what the stage adds to it: none here."""
        return iter(())

    def listen(self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"]) -> Listened:
        """Return all that is known before the host must know how many tokens there are: no wait, on any device."""
        keep = length_mask(lengths, feats.shape[1])
        return self.fire(masked(self.encoder(feats, keep), keep), lengths)

    def fire(self, encoder_out: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"]) -> Listened:
        """Return encoder_out, which is zero in the padding, with where tokens are complete in it."""
        keep = length_mask(lengths, encoder_out.shape[1])
        return Listened(encoder_out, *self.predictor.listen(encoder_out, lengths, keep))

    def spell(self, heard: Listened, lengths: Int[mx.array, " B"], tokens: int) -> Float[mx.array, "B U V"]:
        """Return the logits of so many tokens of each recording."""
        embeds = self.predictor.embed(heard.encoder_out, heard.firing, tokens)
        keep = length_mask(lengths, heard.encoder_out.shape[1])
        tgt_mask = length_mask(heard.firing.token_num, tokens)
        return self.decode(embeds, tgt_mask, heard.encoder_out, keep, self.Options())

    def output(
        self, heard: Listened, logits: Float[mx.array, "B U V"], sizes: list[int], steps: int
    ) -> ParaformerOutput:
        """Return what a call does of recordings of these sizes, in `steps` frames; they may be padded to more."""
        batch = len(sizes)
        longer = heard.alphas.shape[1] - heard.encoder_out.shape[1]  # the tail frame
        alphas, fires = (array[:batch, : steps + longer] for array in (heard.alphas, heard.firing.fires))
        token_num, encoder_out = heard.firing.token_num[:batch], heard.encoder_out[:batch, :steps]
        return ParaformerOutput(logits, token_num, encoder_out, alphas, fires, sizes, self.Options())

    def no_logits(self, batch: int) -> Float[mx.array, "B U V"]:
        """Return the logits of recordings without a token."""
        return mx.zeros((batch, 0, self.config.vocab_size), dtype=self.dtype)

    def recognize(self, waveforms: Sequence[np.ndarray], *, dither: float = 0.0, seed: int = 0) -> list[list[int]]:
        """Return the token ids of each waveform (float32, [-1, 1], the model's rate), decoded as one batch.

        sos, eos and blank are dropped, as FunASR does before it prints.
        """
        return self.token_ids(self(*self.features(waveforms, dither=dither, seed=seed)))

    def features(
        self, waveforms: Sequence[np.ndarray], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and lengths of a batch of waveforms, to be called with; see `WavFrontend`."""
        rows, samples = side_by_side(waveforms)
        return self.features_of(mx.array(rows), samples, dither=dither, seed=seed)

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return the same of waveforms that are already padded, float32 or int16; `samples` are their own lengths."""
        return self.frontend.batch(waveforms, samples, dither=dither, seed=seed)

    def token_ids(self, output: ParaformerOutput) -> list[list[int]]:
        """Return the best token of every position, per utterance, without blank, sos and eos."""
        return self.spoken(self.best(output))

    def logits_of(self, output: ParaformerOutput) -> list[Float[np.ndarray, "U V"]]:
        """Return each utterance's logits without padding, float32, in the host's memory."""
        logits, counts = np.array(output.logits.astype(mx.float32)), np.array(output.token_num).tolist()
        return [row[:count] for row, count in zip(logits, counts, strict=True)]

    def best(self, output: ParaformerOutput, *, confidence: bool = False, nbest: int = 0) -> Best:
        """Return the best token of every position, how many there are, and where they fire, being computed.

        With how sure the model is of them, where that is asked for, see `roles.Recognizer`.
        """
        B, tokens = output.logits.shape[:2]
        best = ops.argmax(output.logits) if tokens else mx.zeros((B, 0), mx.uint32)  # MLX has none of nothing
        mx.async_eval(best, output.token_num)
        doubts = self._doubts(output, best, nbest) if confidence or nbest else None
        return Best(best, output.token_num, output.fires, output.lengths, output.more, doubts)

    def _doubts(self, output: ParaformerOutput, best: UInt[mx.array, "B U"], nbest: int) -> Doubts:
        top = nbest + len(self._silent) if nbest else 0  # what prints nothing may stand above what prints
        sure = certainty(output.logits, best, top, kept=length_mask(output.token_num, best.shape[1]))
        own = length_mask(mx.array(output.lengths), output.alphas.shape[1])  # the tail is not the recording's
        total = masked(output.alphas[..., None], own)[..., 0].sum(axis=-1)
        mx.async_eval(total)
        return Doubts(sure, total, nbest)

    def spoken(self, best: Best) -> list[list[int]]:
        """Return the tokens without padding, blank, sos and eos, per utterance, in the host's memory."""
        return [ids[kept].tolist() for ids, kept in self._rows(best)]

    def hypotheses(
        self, best: Best, options: ParaformerOptions | None = None, *, times: bool = False
    ) -> list[Hypothesis]:
        """Return one Hypothesis per utterance; `times`: with `token_starts_ms`, from where CIF fires."""
        rows = list(self._rows(best))
        spoken = [ids[kept].tolist() for ids, kept in rows]
        starts = self._starts_ms(best) if times else [None] * len(spoken)
        found = [
            Hypothesis(token_ids=ids, text=self.tokenizer.decode(ids), token_starts_ms=start)
            for ids, start in zip(spoken, starts, strict=True)
        ]
        return found if best.doubts is None else self._judged(found, rows, best.doubts)

    def _judged(
        self, found: list[Hypothesis], rows: Sequence[tuple[np.ndarray, np.ndarray]], doubts: Doubts
    ) -> list[Hypothesis]:
        """Return the same with how sure the model is: of tokens that are printed, and of their number."""
        sure = doubts.certainty.rows([len(ids) for ids, _ in rows])
        sums, judged = np.array(doubts.alpha_sum).tolist(), []
        for heard, (ids, kept), one, total in zip(found, rows, sure, sums, strict=True):
            confidences = np.minimum(np.exp(one.log_probs[kept]), 1.0).tolist()
            judged.append(
                replace(
                    heard,
                    confidence=overall(confidences),
                    confidences=confidences,
                    entropies=one.entropy[kept].tolist(),
                    alternatives=self._alternatives(one, doubts.nbest) if doubts.nbest else None,
                    flags=flags(total, len(ids), heard.token_ids, confidences),
                )
            )
        return judged

    def _alternatives(self, sure: Sureness, nbest: int) -> list[Alternative]:
        found = kbest.alternatives(sure.top_ids, sure.top_log_probs, self._silent, nbest)
        return [Alternative(token_ids=ids, text=self.tokenizer.decode(ids), score=score) for ids, score in found]

    @property
    def _silent(self) -> tuple[int, ...]:
        """The ids that print nothing, each once."""
        return tuple({self.config.blank_id, self.config.sos, self.config.eos})

    def _rows(self, best: Best) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each utterance's tokens, (U,), and which of them are printed, (U,) bool."""
        tokens, counts = np.array(best.tokens), np.array(best.token_num)
        kept = ~np.isin(tokens, self._silent)
        for row, keep, count in zip(tokens, kept, counts, strict=True):
            yield row[:count], keep[:count]

    def _starts_ms(self, best: Best) -> list[list[int]]:
        """Return about when each token that is printed begins (token_times.py), per utterance."""
        frame_ms = self.config.frontend.lfr_n * self.config.frontend.frame_shift
        fires = np.array(best.fires)
        return [starts_ms(fired, kept, frame_ms) for fired, (_, kept) in zip(fires, self._rows(best), strict=True)]
