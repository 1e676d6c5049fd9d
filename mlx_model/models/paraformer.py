"""Paraformer: front end, SAN-M encoder, CIF predictor, parallel decoder, arg-max. One file per model family.

Mirrors funasr/models/paraformer/model.py::Paraformer.inference without beam search, language model or timestamps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt

from mlx_model.audio.batching import side_by_side
from mlx_model.audio.plain_wave import FULL_SCALE
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.engines import cpu_engine, cpu_network, gpu, lanes
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.basic import length_mask
from mlx_model.parts.cif import PREDICTORS
from mlx_model.parts.frontend import WavFrontend
from mlx_model.parts.sanm import ParaformerSANMDecoder, SANMEncoder
from mlx_model.text.results import Hypothesis
from mlx_model.text.token_times import starts_ms
from mlx_model.text.tokenizer import Tokenizer


class ParaformerOutput(NamedTuple):
    """One forward pass. logits (B, U, V); token_num (B,); encoder_out (B, T, D); alphas, fires (B, T [+1 tail])."""

    logits: Float[mx.array, "B U V"]
    token_num: Int[mx.array, " B"]
    encoder_out: Float[mx.array, "B T D"]
    alphas: Float[mx.array, "B T1"]
    fires: Bool[mx.array, "B T1"]


class Best(NamedTuple):
    """A batch's best tokens, padding included, how many there are of each recording, and the frames where they fire."""

    tokens: UInt[mx.array, "B U"]
    token_num: Int[mx.array, " B"]
    fires: Bool[mx.array, "B T1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerOptions:
    """What a caller may ask of a Paraformer: nothing."""


class Model(nn.Module):
    """A Paraformer. Attributes with parameters carry FunASR's names: frontend, encoder, predictor, decoder.

    A Recognizer (roles.py). `tokenizer` is set by `mlx_model.load`.
    """

    Options: ClassVar[type[ParaformerOptions]] = ParaformerOptions
    tokenizer: Tokenizer

    def __init__(self, config: ParaformerConfig):
        super().__init__()
        self._gpu_path: gpu.Path | None = None
        self.config = config
        self.frontend = WavFrontend(config.frontend)
        self.encoder = SANMEncoder(config.frontend.output_size, config.encoder)
        self.predictor = PREDICTORS[config.predictor_class](config.predictor)
        self.decoder = ParaformerSANMDecoder(config.vocab_size, config.encoder.output_size, config.decoder)

    def set_tokens(self, tokens: list[str] | Path) -> None:
        """Set the tokenizer from the vocabulary, or from the tokens.json that holds it.

        Raises:
            AssetError: not a vocabulary that fits this model.
        """
        config = self.config
        special = {"blank_id": config.blank_id, "sos": config.sos, "eos": config.eos}
        if isinstance(tokens, Path):
            self.tokenizer = Tokenizer.from_file(tokens, config.tokenizer, **special)
        else:
            self.tokenizer = Tokenizer(tokens, config.tokenizer, **special)

    def prepare(self, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Let `cpu_engine.py` compute encoder and decoder on a CPU that it knows; elsewhere nothing happens.

        `load` does so. Results are the same but for rounding. Call it for a model made in memory. Whatever is changed
        later, parameters or anything else, is computed with at once: here, or by MLX where this cannot.

        Args:
            arrays: weights by their names, where they need not be read from MLX's memory.
        """
        if not cpu_engine.serves(self):
            return
        source = cpu_engine.mapped(self, arrays or {})
        for linear in cpu_engine.linears_of(self):
            cpu_engine.keep(linear, source)
        self.encoder._engine = self.encoder._engine or cpu_network.Encoder()
        self.decoder._engine = self.decoder._engine or cpu_network.Decoder()

    def compile(self) -> None:
        """Let a GPU compile every new shape of batches (`gpu.py`): for services and for benchmarks. Nothing on a CPU.

        Saves up to a quarter of the time, most for one short recording. On CUDA the first batches on a machine take a
        minute longer. Weights, and all else that modules hold, are taken as they are now: call it again after a change.
        """
        self._gpu_path = gpu.Path(self, compiled=True)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features stay float32 until they enter the encoder."""
        return self.encoder.after_norm.weight.dtype

    @property
    def engine(self) -> str:
        """What computes the network here and now, in words; see `numerics.py`."""
        if gpu.takes(self):
            compiled = self._gpu_path is not None and self._gpu_path.compiled
            return "GPU path, compiled" if compiled else "GPU path"
        encoder, decoder = lanes.in_words(self.encoder), lanes.in_words(self.decoder)
        return encoder if encoder == decoder else f"encoder: {encoder}; decoder: {decoder}"

    def __call__(self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"]) -> ParaformerOutput:
        """Return logits and what led to them. An utterance's result does not depend on what it is batched with.

        Args:
            feats: features after LFR and CMVN, (B, T, m*M).
            lengths: valid frames of each, (B,).
        """
        return self.begin(feats, lengths)()

    def begin(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None = None
    ) -> Callable[[], ParaformerOutput]:
        """Start a batch, and return the function that finishes it and returns what a call does.

        A GPU is given all that it can compute before the token counts are known, so that it has work while the host is
        busy with another batch. A CPU starts when the function is called.
        """
        sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
        if gpu.takes(self):
            return self._begin_on_gpu(feats, sizes)
        return functools.partial(self._on_cpu, feats, lengths, sizes)

    def _on_cpu(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], sizes: list[int]
    ) -> ParaformerOutput:
        mask = None if min(sizes) == feats.shape[1] else length_mask(lengths, feats.shape[1])
        encoder_out = self.encoder(feats.astype(self.dtype), mask)
        embeds, token_num, alphas, fires = self.predictor(encoder_out, lengths, mask)
        tokens = embeds.shape[1]
        if tokens == 0:  # nothing but silence in the whole batch
            logits = mx.zeros((feats.shape[0], 0, self.config.vocab_size), dtype=self.dtype)
            return ParaformerOutput(logits, token_num, encoder_out, alphas, fires)
        counts: list[int] = token_num.tolist()  # pyright: ignore[reportAssignmentType]
        tgt_mask = None if min(counts) == tokens else length_mask(token_num, tokens)
        logits = self.decoder(embeds, tgt_mask, encoder_out, mask)
        return ParaformerOutput(logits, token_num, encoder_out, alphas, fires)

    def _begin_on_gpu(self, feats: Float[mx.array, "B T Din"], sizes: list[int]) -> Callable[[], ParaformerOutput]:
        """Return the same in the way of gpu.py. One host synchronisation, for the token counts."""
        if self._gpu_path is None:
            self._gpu_path = gpu.Path(self, compiled=False)
        path, (B, T) = self._gpu_path, feats.shape[:2]
        feats, lengths = gpu.padded(feats, sizes)
        heard = path.listen(feats, lengths)
        mx.async_eval(heard)

        def finish() -> ParaformerOutput:
            token_num = heard.firing.token_num[:B]
            tokens = max(token_num.tolist())  # pyright: ignore[reportArgumentType]
            logits = mx.zeros((B, 0, self.config.vocab_size), dtype=self.dtype)
            if tokens > 0:
                logits = path.spell(heard, lengths, gpu.time_shape(tokens))[:B, :tokens]
            steps = T + heard.alphas.shape[1] - feats.shape[1]  # with the tail frame
            return ParaformerOutput(
                logits, token_num, heard.encoder_out[:B, :T], heard.alphas[:B, :steps], heard.firing.fires[:B, :steps]
            )

        return finish

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
        if waveforms.dtype == mx.int16:
            waveforms = waveforms.astype(mx.float32) / FULL_SCALE
        feats, _ = self.frontend(waveforms, mx.array(samples), dither=dither, seed=seed)
        return feats, mx.array([self.frontend.steps(count) for count in samples])

    def token_ids(self, output: ParaformerOutput) -> list[list[int]]:
        """Return the best token of every position, per utterance, without blank, sos and eos."""
        return self.spoken(self.best(output))

    def logits_of(self, output: ParaformerOutput) -> list[Float[np.ndarray, "U V"]]:
        """Return each utterance's logits without padding, float32, in the host's memory."""
        logits, counts = np.array(output.logits.astype(mx.float32)), np.array(output.token_num).tolist()
        return [row[:count] for row, count in zip(logits, counts, strict=True)]

    def best(self, output: ParaformerOutput) -> Best:
        """Return the best token of every position, how many there are, and where they fire, being computed."""
        B, tokens = output.logits.shape[:2]
        best = output.logits.argmax(axis=-1) if tokens else mx.zeros((B, 0), mx.uint32)  # MLX has none of nothing
        mx.async_eval(best, output.token_num)
        return Best(best, output.token_num, output.fires)

    def spoken(self, best: Best) -> list[list[int]]:
        """Return the tokens without padding, blank, sos and eos, per utterance, in the host's memory."""
        return [ids[kept].tolist() for ids, kept in self._rows(best)]

    def hypotheses(
        self, best: Best, options: ParaformerOptions | None = None, *, times: bool = False
    ) -> list[Hypothesis]:
        """Return one Hypothesis per utterance; `times`: with `token_starts_ms`, from where CIF fires."""
        spoken = self.spoken(best)
        starts = self._starts_ms(best) if times else [None] * len(spoken)
        return [
            Hypothesis(token_ids=ids, text=self.tokenizer.decode(ids), token_starts_ms=start)
            for ids, start in zip(spoken, starts, strict=True)
        ]

    def _rows(self, best: Best) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each utterance's tokens, (U,), and which of them are printed, (U,) bool."""
        tokens, counts = np.array(best.tokens), np.array(best.token_num)
        kept = ~np.isin(tokens, (self.config.blank_id, self.config.sos, self.config.eos))
        for row, keep, count in zip(tokens, kept, counts, strict=True):
            yield row[:count], keep[:count]

    def _starts_ms(self, best: Best) -> list[list[int]]:
        """Return about when each token that is printed begins (token_times.py), per utterance."""
        frame_ms = self.config.frontend.lfr_n * self.config.frontend.frame_shift
        fires = np.array(best.fires)
        return [starts_ms(fired, kept, frame_ms) for fired, (_, kept) in zip(fires, self._rows(best), strict=True)]
