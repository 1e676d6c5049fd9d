"""MonotonicAligner (fa-zh): front end, SAN-M encoder, the predictor's second head; when the words of a text are said.

Of the text the network sees nothing but how many tokens it has. Mirrors
funasr/models/monotonic_aligner/model.py::MonotonicAligner.inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from mlx_model import ops
from mlx_model.audio.batching import side_by_side
from mlx_model.config.monotonic_aligner import MonotonicAlignerConfig
from mlx_model.config.parts import CifPredictorV3Config
from mlx_model.decoding.forced_alignment import Heard, asked_for, timed
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask
from mlx_model.parts.basic import length_mask
from mlx_model.parts.cif_v3 import CifPredictorV3
from mlx_model.parts.frontend import WavFrontend
from mlx_model.parts.sanm import SANMEncoder
from mlx_model.text.alignment import Timed
from mlx_model.text.known_text import KnownText, Speller
from mlx_model.text.seg_dict import FILE, SegDict
from mlx_model.text.tokenizer import Tokenizer

UPSAMPLED = 3  # places for a token in a frame of the encoder; the configuration allows no other number
LAYER_NORM_EPS = 1e-12  # as of the whole Paraformer line


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotonicAlignerOptions:
    """What can be asked of a MonotonicAligner."""

    as_funasr: bool = field(default=False, metadata={"help": "As FunASR 1.4.16, also where it is wrong."})


class Heads(NamedTuple):
    """What the second head says, three places to a frame of the encoder, zero in the padding.

    alphas as they are; us_alphas scaled to add up to so many tokens; us_peaks their integrals, as FunASR has them.
    """

    alphas: Float[mx.array, "B T3"]
    us_alphas: Float[mx.array, "B T3"]
    us_peaks: Float[mx.array, "B T3"]


class AlignerOutput(NamedTuple):
    """One forward pass: encoder_out (B, T, D), what the second head says, and each recording's frames."""

    encoder_out: Float[mx.array, "B T D"]
    heads: Heads
    lengths: list[int]


@as_written
class SecondHead(CifPredictorV3):
    """A BiCifParaformer's predictor without what only its first head has. Mirrors its get_upsample_timestamp."""

    def __init__(self, config: CifPredictorV3Config):
        super().__init__(config)
        del self.cif_output
        if not config.use_cif1_cnn:
            del self.cif_conv1d

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  the first head's question is not asked
        self, hidden: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"], mask: Mask, token_num: mx.array
    ) -> Heads:
        """Return alphas, and for so many tokens of each recording, (B,), what FunASR looks for them in."""
        alphas = self.second_alphas(hidden, lengths, mask)
        peaks = self.scaled(alphas, token_num.astype(mx.int32))  # parity gives what FunASR was given, as float32
        return Heads(alphas, peaks.us_alphas, mx.array(peaks.us_peaks))


class Model(nn.Module):
    """A MonotonicAligner. Attributes with parameters carry FunASR's names: frontend, encoder, predictor.

    An Aligner (roles.py). `tokenizer` and `speller` are set by `mlx_model.load`.
    """

    Options: ClassVar[type[MonotonicAlignerOptions]] = MonotonicAlignerOptions
    tokenizer: Tokenizer
    speller: Speller

    def __init__(self, config: MonotonicAlignerConfig):
        super().__init__()
        self.config = config
        self.frontend = WavFrontend(config.frontend)
        self.encoder = SANMEncoder(config.frontend.output_size, config.encoder, LAYER_NORM_EPS)
        self.predictor = SecondHead(config.predictor)

    def set_tokens(self, tokens: list[str] | Path) -> None:
        """Set the vocabulary, or read it from the tokens.json that holds it, and the dictionary (seg_dict) beside it.

        Raises:
            AssetError: not a vocabulary that fits this model, or not a dictionary.
        """
        special = dict.fromkeys(("blank_id", "sos", "eos"), -1)  # nothing is decoded
        seg_dict = None
        if isinstance(tokens, Path):
            self.tokenizer = Tokenizer.from_file(tokens, self.config.tokenizer, **special)
            seg_dict = SegDict(tokens.with_name(FILE)).words if tokens.with_name(FILE).is_file() else None
        else:
            self.tokenizer = Tokenizer(tokens, self.config.tokenizer, **special)
        self.speller = Speller(self.tokenizer.tokens, self.config.tokenizer.unk_symbol, seg_dict)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features stay float32 until they enter the encoder."""
        return self.encoder.after_norm.weight.dtype

    @property
    def engine(self) -> str:
        """What computes the network here and now, in words; see `numerics.py`."""
        return ops.in_words(self.encoder)

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
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], token_num: mx.array
    ) -> AlignerOutput:
        """Return the second head's alphas and peaks. An utterance's do not depend on what it is batched with.

        Args:
            feats: features after LFR and CMVN, (B, T, m*M).
            lengths: valid frames of each, (B,).
            token_num: tokens of each one's text, and one, (B,).
        """
        *_, (_, output) = self.stages(feats, lengths, token_num)
        return output

    def stages(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], token_num: mx.array | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Yield each stage's name and what it leaves to be computed, the last one the output: for `bench` to time.

        Without `token_num` there are four tokens a second.
        """
        sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
        mask = None if min(sizes) == feats.shape[1] else length_mask(lengths, feats.shape[1])
        encoder_out = self.encoder(feats, mask)
        yield "encoder", encoder_out
        token_num = lengths // 4 + 1 if token_num is None else token_num
        yield "predictor", AlignerOutput(encoder_out, self.predictor(encoder_out, lengths, mask, token_num), sizes)

    def known(self, text: str) -> KnownText:
        """Return a text's words, and the tokens of each."""
        return self.speller.read(text)

    def timed(
        self,
        feats: Float[mx.array, "B T Din"],
        lengths: Int[mx.array, " B"],
        texts: Sequence[KnownText],
        durations_ms: Sequence[int],
        options: MonotonicAlignerOptions | None = None,
    ) -> list[Timed]:
        """Return when the words of each recording's text are said; `durations_ms` are the recordings' own."""
        as_funasr = (options or MonotonicAlignerOptions()).as_funasr
        theirs, ours = (
            mx.array([asked_for(len(tokens)) for tokens in found])
            for found in ([text.funasr_tokens for text in texts], [text.tokens for text in texts])
        )
        output = self(feats, lengths, theirs)
        rescaled = self.predictor.scaled(output.heads.alphas, ours)
        heads = [*map(np.array, output.heads), np.array(rescaled.us_alphas), rescaled.us_peaks]
        rows = [
            Heard(*(head[row, : UPSAMPLED * length] for head in heads)) for row, length in enumerate(output.lengths)
        ]
        return [
            timed(row, text, duration_ms, as_funasr=as_funasr)
            for row, text, duration_ms in zip(rows, texts, durations_ms, strict=True)
        ]
