"""ParaformerStreaming: a Paraformer in windows, of which many streams' are computed at once. Caches are values.

Mirrors funasr/models/paraformer_streaming/model.py::ParaformerStreaming (`generate_chunk` and what it calls). A
stream's window is `left` frames that were decided on, `stride` that are now, and `ahead` that the next one decides on;
before its first frame stand `overlap` zeros. `step` is one window of each of several streams; pipelines/streams.py cuts
samples into them. A recording is a stream that is given whole: the model is a Recognizer, too.

Where `as_funasr` computes otherwise: CIF's sums are float32's, a single `decoders2` layer is left out, and an empty
last window is scaled twice. The zeros before the first frame are FunASR's either way: they are attended to, and their
alphas count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from mlx_model.config.chunking import Chunking
from mlx_model.config.paraformer_streaming import ParaformerStreamingConfig
from mlx_model.machine.blas import mx
from mlx_model.models import paraformer
from mlx_model.models.paraformer import LAYER_NORM_EPS, Best, ParaformerOptions, ParaformerOutput
from mlx_model.parts import kept_keys
from mlx_model.parts.cif_chunk import CifCarry, Fired, integrate, new_carry
from mlx_model.parts.frontend_stacked import WavFrontendStacked
from mlx_model.parts.kept_keys import Kept
from mlx_model.parts.positions import positions_from
from mlx_model.parts.sanm_chunk import ParaformerSANMDecoderChunk, SANMEncoderChunkOpt, TokenPast
from mlx_model.text.token_times import begins_ms


class TokensKept(NamedTuple):
    """TokenPast of one stream, as it is kept: (layers, ...)."""

    inputs: mx.array
    keys: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderCache:
    """What a stream's encoder keeps. `keys` (layers, T, D) each; None: there were none, or none are looked back at.

    `feats` (overlap, Din) are the last ones, scaled and with their positions; the next ones' go on from `start`.
    """

    feats: mx.array
    start: int = 0
    keys: Kept = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCache:
    """What a stream keeps from window to window: one of its parts' each. A value; None is no past.

    `decoder` has arrays (layers, ...) without a batch; it moves on with windows that give tokens alone. `decided`
    counts the frames decided on, those zeros included that stand before the first one.
    """

    chunking: Chunking
    as_funasr: bool
    encoder: EncoderCache
    predictor: CifCarry
    decoder: TokensKept | None = None
    decided: int = 0


class Step(NamedTuple):
    """One window of one stream. T are the frames that it decides on, a last window's tail not counted.

    token_ids without blank, sos and eos; `tokens` (U,) with them; `frames` (U,) where they fired, from the stream's
    first frame on: those before it are negative; encoder_out (W, D) of the whole window; logits (U, V).
    """

    cache: StreamCache
    token_ids: list[int]
    tokens: Int[np.ndarray, " U"]
    frames: Int[np.ndarray, " U"]
    alphas: Float[np.ndarray, " T"]
    fired: Fired
    encoder_out: Float[mx.array, "W D"]
    logits: Float[mx.array, "U V"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingOptions(ParaformerOptions):
    """How a stream is cut into windows, FunASR's names and defaults, and whether FunASR is followed where it is wrong.

    chunk_size: three numbers, or text such as "0,10,5". key_bits: 12 keeps a stream in 0.4 of the memory (Chunking).
    """

    chunk_size: str | Sequence[int] = (0, 10, 5)
    encoder_chunk_look_back: int = 0
    decoder_chunk_look_back: int = 0
    key_bits: int = 32
    as_funasr: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunk_size", self.chunking.chunk_size)

    @property
    def chunking(self) -> Chunking:
        """Return how a stream is cut into windows."""
        return Chunking(
            chunk_size=self.chunk_size,  # pyright: ignore[reportArgumentType]  what it makes three numbers of
            encoder_chunk_look_back=self.encoder_chunk_look_back,
            decoder_chunk_look_back=self.decoder_chunk_look_back,
            key_bits=self.key_bits,
        )


class Model(paraformer.Model):
    """A ParaformerStreaming. A StreamingRecognizer and a Recognizer (roles.py). `listen` and `spell` are not taken."""

    Options: ClassVar[type[Any]] = StreamingOptions
    taken_apart: ClassVar[tuple[str, ...]] = ()
    config: ParaformerStreamingConfig
    frontend: WavFrontendStacked
    encoder: SANMEncoderChunkOpt
    decoder: ParaformerSANMDecoderChunk

    def __init__(self, config: ParaformerStreamingConfig):
        super().__init__(config)
        width = config.encoder.output_size
        self.frontend = WavFrontendStacked(config.frontend)
        self.encoder = SANMEncoderChunkOpt(config.frontend.output_size, config.encoder, LAYER_NORM_EPS)
        self.decoder = ParaformerSANMDecoderChunk(config.vocab_size, width, config.decoder, LAYER_NORM_EPS)

    @property
    def frame_samples(self) -> int:
        """Samples of one encoder frame: FunASR's 960."""
        return self.config.frontend.lfr_n * self.config.frontend.shift_samples

    @property
    def frame_ms(self) -> float:
        """Milliseconds of one encoder frame."""
        return self.config.frontend.lfr_n * self.config.frontend.frame_shift

    def new_cache(self, chunking: Chunking, *, as_funasr: bool = False) -> StreamCache:
        """Return what a stream begins with: zeros where frames would be, before the first one."""
        feats = mx.zeros((chunking.overlap, self.config.frontend.output_size), dtype=self.dtype)
        carry = new_carry(self.config.encoder.output_size, np.float32 if as_funasr else np.float64)
        return StreamCache(
            chunking=chunking, as_funasr=as_funasr, encoder=EncoderCache(feats=feats), predictor=carry
        )  # fmt: skip

    def saved(self, cache: StreamCache) -> dict[str, np.ndarray]:
        """Return a cache as arrays; `restored` takes them. Those of 16 bits are widened, exactly."""
        decoder = cache.decoder
        found: dict[str, mx.array] = {"feats": cache.encoder.feats, **kept_keys.saved("keys", cache.encoder.keys)}
        if decoder is not None:
            found |= {"inputs": decoder.inputs, **kept_keys.saved("memory", decoder.keys)}
        wide = {name: array if array.dtype == mx.uint8 else array.astype(mx.float32) for name, array in found.items()}
        arrays = {name: np.array(array) for name, array in wide.items()}
        counts = np.array([cache.encoder.start, cache.decided])
        return {**arrays, "alpha": np.array(cache.predictor.alpha), "hidden": cache.predictor.hidden, "counts": counts}

    def restored(self, arrays: Mapping[str, np.ndarray], like: StreamCache) -> StreamCache:
        """Return the cache that was saved of a stream like this one."""
        inputs = arrays.get("inputs")
        keys, memory = (kept_keys.restored(name, arrays, self.dtype) for name in ("keys", "memory"))
        start, decided = arrays["counts"].tolist()
        kind = like.predictor.hidden.dtype.type
        return replace(
            like,
            encoder=EncoderCache(feats=mx.array(arrays["feats"]).astype(self.dtype), start=start, keys=keys),
            predictor=CifCarry(alpha=kind(arrays["alpha"]), hidden=arrays["hidden"].astype(kind)),
            decoder=None if inputs is None else TokensKept(mx.array(inputs).astype(self.dtype), memory),
            decided=decided,
        )

    def step(self, feats: Sequence[Any], caches: Sequence[StreamCache], final: Sequence[bool]) -> list[Step]:
        """Return one window of each of several streams; those alike in shape are computed as one batch.

        Args:
            feats: the new frames of each, (n, Din): `stride` of them, fewer with the last window, also none.
            caches: what each stream's window before returned.
            final: whether it is the stream's last.
        """
        groups: dict[Any, list[int]] = {}
        for index, (new, cache) in enumerate(zip(feats, caches, strict=True)):
            known = 0 if cache.encoder.keys is None else cache.encoder.keys.frames
            groups.setdefault((len(new), known, cache.chunking, cache.as_funasr), []).append(index)
        found: dict[int, Step] = {}
        for indices in groups.values():
            given = ([feats[i] for i in indices], [caches[i] for i in indices], [final[i] for i in indices])
            found |= zip(indices, self._windows(*given), strict=True)
        return [found[index] for index in range(len(feats))]

    def _windows(self, feats: Sequence[Any], caches: Sequence[StreamCache], final: Sequence[bool]) -> list[Step]:
        """The same of streams whose windows and keys have one shape."""
        chunking = caches[0].chunking
        window, starts = self.windows(feats, caches)
        before, new = kept_keys.batch([cache.encoder.keys for cache in caches]), window.shape[1] - chunking.ahead
        encoder_out, keys = self.encoder(window, kept_keys.unpacked(before, self.dtype), chunking)
        alphas = self.predictor.predict_alphas(encoder_out, None)
        hidden, weights = np.array(encoder_out.astype(mx.float32)), np.array(alphas)  # waits for both
        kept = kept_keys.rows(kept_keys.kept_of(keys, before, new, packed=chunking.is_packed), len(caches))
        left = mx.contiguous(window[:, window.shape[1] - chunking.overlap :])
        steps = []
        for row, (cache, is_final) in enumerate(zip(caches, final, strict=True)):
            decided = chunking.decided(window.shape[1], final=is_final)
            own = weights[row, decided]
            tail = self.predictor.tail_threshold if is_final else None
            fired = integrate(hidden[row, decided], own, cache.predictor, tail=tail)
            encoder = EncoderCache(feats=kept_keys.alone(left, row), start=starts[row], keys=kept[row])
            after = replace(cache, encoder=encoder, predictor=fired.carry, decided=cache.decided + len(own))
            frames = fired.frames + cache.decided - chunking.ahead
            nothing = np.empty(0, np.int64)
            steps.append(Step(after, [], nothing, frames, own, fired, encoder_out[row], None))
        return self._spelt(steps, encoder_out)

    def windows(
        self, feats: Sequence[Any], caches: Sequence[StreamCache]
    ) -> tuple[Float[mx.array, "B W Din"], list[int]]:
        """Return windows: frames of before, and new ones, scaled and with positions; and where positions go on."""
        new, depth = len(feats[0]), self.config.frontend.output_size
        before = mx.stack([cache.encoder.feats for cache in caches])  # (B, overlap, Din)
        starts = [cache.encoder.start + new for cache in caches]
        if new == 0:  # FunASR takes what is cached for new frames, scales it again and counts its positions
            again = caches[0].as_funasr
            return (before * self.encoder.scale if again else before), starts
        codes = np.stack([positions_from(cache.encoder.start, new, depth) for cache in caches])
        rows = mx.stack([mx.array(row) for row in feats]).astype(self.dtype)
        rows = rows * self.encoder.scale + mx.array(codes).astype(self.dtype)
        return mx.concatenate([before, rows], axis=1), starts

    def _spelt(self, steps: list[Step], encoder_out: Float[mx.array, "B W D"]) -> list[Step]:
        """Return the steps with their tokens; streams alike in what their decoders keep are computed as one batch."""
        groups: dict[Any, list[int]] = {}
        for row, step in enumerate(steps):
            past = step.cache.decoder
            if len(step.fired.embeds):
                known = None if past is None else (0 if past.keys is None else past.keys.frames)
                groups.setdefault(known, []).append(row)
        for rows in groups.values():
            for row, step in zip(rows, self._tokens([steps[row] for row in rows], encoder_out, rows), strict=True):
                steps[row] = step
        return steps

    def _tokens(self, steps: Sequence[Step], encoder_out: mx.array, rows: Sequence[int]) -> list[Step]:
        counts = [len(step.fired.embeds) for step in steps]
        embeds = np.zeros((len(steps), max(counts), encoder_out.shape[2]), np.float32)
        for row, step in zip(embeds, steps, strict=True):
            row[: len(step.fired.embeds)] = step.fired.embeds
        caches = [step.cache for step in steps]
        memory = encoder_out if len(rows) == len(encoder_out) else encoder_out[mx.array(list(rows))]
        found = [cache.decoder for cache in caches if cache.decoder is not None]
        before, chunking = kept_keys.batch([past.keys for past in found]), caches[0].chunking
        keys = kept_keys.unpacked(before, self.dtype)
        known = TokenPast(mx.stack([past.inputs for past in found]), keys) if found else None
        logits, past = self.decoder(
            mx.array(embeds).astype(self.dtype), memory, known, chunking, counts, as_funasr=caches[0].as_funasr,
        )  # fmt: skip
        best = np.array(logits.argmax(axis=-1)).astype(np.int64)
        kept = kept_keys.kept_of(past.keys, before, memory.shape[1], packed=chunking.is_packed)
        inputs, memories = past.inputs, kept_keys.rows(kept, len(steps))
        done = []
        for row, (step, count) in enumerate(zip(steps, counts, strict=True)):
            tokens = best[row, :count]
            cache = replace(step.cache, decoder=TokensKept(kept_keys.alone(inputs, row), memories[row]))
            ids = tokens[~np.isin(tokens, self._silent)].tolist()
            done.append(step._replace(cache=cache, token_ids=ids, tokens=tokens, logits=logits[row, :count]))
        return done

    def begin(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None = None
    ) -> Callable[[], ParaformerOutput]:
        """Return the function that computes recordings; `lengths` are what `features_of` returned: samples."""
        return functools.partial(self._recordings, feats, lengths, options)

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and, for lengths, samples: they say how many windows there are, which frames do not."""
        feats, _ = self.frontend.batch(waveforms, samples, dither=dither, seed=seed)
        return feats, mx.array(samples)

    def _recordings(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: ParaformerOptions | None
    ) -> ParaformerOutput:
        """Return what all windows of recordings give, put together; windows of many are computed side by side."""
        asked = options if isinstance(options, StreamingOptions) else StreamingOptions()
        sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
        plans = [self._pieces(size, asked) for size in sizes]
        caches = [self.new_cache(asked.chunking, as_funasr=asked.as_funasr) for _ in sizes]
        steps: list[list[Step]] = [[] for _ in sizes]
        for number in range(max(map(len, plans))):
            rows = [row for row, plan in enumerate(plans) if number < len(plan)]
            given = [feats[row, slice(*plans[row][number])] for row in rows]
            final = [number == len(plans[row]) - 1 for row in rows]
            for row, step in zip(rows, self.step(given, [caches[row] for row in rows], final), strict=True):
                caches[row] = step.cache
                mx.eval(step.logits if step.logits is not None else step.encoder_out)
                steps[row].append(step)
        return self._output(steps, asked)

    def _pieces(self, samples: int, options: StreamingOptions) -> list[tuple[int, int]]:
        """Return [first, stop) of each window's new frames: those that a stream of so many samples would have."""
        stride = options.chunking.stride
        whole, frames = samples // (stride * self.frame_samples), self.frontend.steps(samples)
        rest = samples - whole * stride * self.frame_samples
        lost = options.as_funasr and rest < self.frame_samples  # FunASR does not look at the rest then
        last = (whole * stride, whole * stride if lost else frames)
        return [*((number * stride, (number + 1) * stride) for number in range(whole)), last]

    def _output(self, steps: Sequence[Sequence[Step]], options: StreamingOptions) -> ParaformerOutput:
        """Return windows' results side by side, padded: of frames decided on, and of a tail behind the last."""
        decided = [np.concatenate([step.alphas for step in each]) for each in steps]
        counts = [sum(len(step.tokens) for step in each) for each in steps]
        most, ahead = max(map(len, decided)) + 1, options.chunking.ahead
        alphas, fires = np.zeros((len(steps), most), np.float32), np.zeros((len(steps), most), bool)
        logits = [self._logits([step.logits for step in each if step.logits is not None]) for each in steps]
        for row, (each, own) in enumerate(zip(steps, decided, strict=True)):
            alphas[row, : len(own)], alphas[row, len(own)] = own, self.predictor.tail_threshold
            for step in each:
                fires[row, step.frames + ahead] = True
        padded = [mx.pad(one, [(0, max(counts) - len(one)), (0, 0)]) for one in logits]
        width = self.config.encoder.output_size
        return ParaformerOutput(
            mx.stack(padded), mx.array(counts), mx.zeros((len(steps), 0, width)), mx.array(alphas), mx.array(fires),
            [len(own) for own in decided], options,
        )  # fmt: skip

    def _logits(self, windows: Sequence[mx.array]) -> Float[mx.array, "U V"]:
        return mx.concatenate(list(windows)) if windows else self.no_logits(1)[0]

    def best(self, output: ParaformerOutput, *, confidence: bool = False, nbest: int = 0) -> Best:
        """Return the best tokens; see the base class. The options go along: times depend on them."""
        return super().best(output, confidence=confidence, nbest=nbest)._replace(more=output.options)

    def _starts_ms(self, best: Best) -> list[list[int]]:
        """Return about when each token that is printed begins; the first frames are before the recording."""
        fires, zeros = np.array(best.fires), best.more.chunking.ahead
        frames = [np.flatnonzero(row) - zeros for row in fires]
        return [
            begins_ms(at[kept], self.frame_ms) for at, (_, kept) in zip(frames, self._rows(best), strict=True)
        ]  # fmt: skip
