"""ContextualParaformer: a Paraformer whose tokens also attend to hotwords (CLAS). One file per family.

Mirrors funasr/models/contextual_paraformer/model.py::ContextualParaformer.inference without beam search or language
model. The bias branch always runs: without hotwords on the one entry that every list ends with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float

from mlx_model import ops
from mlx_model.config.contextual_paraformer import ContextualParaformerConfig
from mlx_model.decoding.hotwords import Hotwords, ids_of, words_of
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx, nn
from mlx_model.models import paraformer
from mlx_model.models.paraformer import LAYER_NORM_EPS, ParaformerOptions
from mlx_model.ops import Mask, TokenMask
from mlx_model.parts.contextual import ContextualParaformerDecoder
from mlx_model.parts.hotwords import Ids, KeptVectors, hotword_vectors
from mlx_model.parts.lstm import LSTM
from mlx_model.text.seg_dict import SegDict

FUNASR_SOS = 1  # the only entry where FunASR is given no list; of a list the last one is the model's own sos


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualParaformerOptions(ParaformerOptions):
    """What can be asked of a ContextualParaformer.

    Raises:
        UsageError: hotwords that cannot be read (`decoding.hotwords.words_of`); a scale that is no number.
    """

    hotwords: str | Path | Sequence[str] | None = field(
        default=None, metadata={"help": "Words to listen for, with blanks between; or a file, one a line."}
    )
    hotword_urls: bool = field(default=False, metadata={"help": "Fetch hotwords that are an address of the web."})
    clas_scale: float = field(default=1.0, metadata={"help": "How much what is found among the hotwords counts."})
    as_funasr: bool = field(default=False, metadata={"help": "As FunASR 1.4.16, also where it is wrong."})

    def __post_init__(self) -> None:
        """Read the hotwords, once, and check."""
        if not math.isfinite(self.clas_scale):
            raise UsageError(f"clas_scale = {self.clas_scale}: expected a number")
        words = words_of(self.hotwords, as_funasr=self.as_funasr, allow_urls=self.hotword_urls)
        object.__setattr__(self, "hotwords", words)


class Model(paraformer.Model):
    """A ContextualParaformer. Beside a Paraformer's parts: bias_encoder, bias_embed, and a decoder of its own.

    `seg_dict` is set by `mlx_model.load`. A list of hotwords is looked up and encoded once, and the result kept for as
    long as the same list is given: for all batches of a call, and for all calls with the same words.
    """

    Options: ClassVar[type[ParaformerOptions]] = ContextualParaformerOptions
    config: ContextualParaformerConfig
    decoder: ContextualParaformerDecoder
    seg_dict: SegDict | None
    taken_apart: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ContextualParaformerConfig):
        super().__init__(config)
        size, own = config.encoder.output_size, config.use_decoder_embedding
        self.decoder = ContextualParaformerDecoder(config.vocab_size, size, config.decoder, LAYER_NORM_EPS, embed=own)
        self.bias_encoder = LSTM(size, size)
        if not own:
            self.bias_embed = nn.Embedding(config.vocab_size, size)
        self.seg_dict = None
        self._listed: tuple[ContextualParaformerOptions, Hotwords] | None = None
        self._encoded = KeptVectors()

    def hotwords(self, options: ContextualParaformerOptions) -> Hotwords:
        """Return the list that is asked for, looked up in the vocabulary; without one, a list of none.

        Raises:
            UsageError: a list that this model cannot take.
        """
        if self._listed is None or self._listed[0] is not options:
            words: Any = options.hotwords
            if words is None:
                only = FUNASR_SOS if options.as_funasr else self.config.sos
                found = Hotwords(words=(), ids=((only,),))
            else:
                found = ids_of(
                    words, self.tokenizer, self.seg_dict, as_funasr=options.as_funasr, sos=self.config.sos
                )  # fmt: skip
            self._listed = (options, found)
        return self._listed[1]

    @property
    def hotword_table(self) -> Float[mx.array, "V D"]:
        """Return the embedding that hotwords' tokens are looked up in."""
        return self.decoder.embed[0]["weight"] if self.config.use_decoder_embedding else self.bias_embed.weight

    def hotword_vectors(self, ids: Ids) -> Float[mx.array, "N D"]:
        """Return one vector for each entry of a list; kept, unless single modules are watched."""
        table, lstm = self.hotword_table, self.bias_encoder
        if ops.chosen() is not None:
            return hotword_vectors(table, lstm, None, ids)
        return self._encoded.of(table, lstm, None, ids)

    def decode(
        self,
        embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        encoder_out: Float[mx.array, "B T D"],
        mask: Mask,
        options: Any,
    ) -> Float[mx.array, "B U V"]:
        """Return the logits of every token, which looks at the hotwords, too."""
        vectors = self.hotword_vectors(self.hotwords(options).ids)
        entries = mx.broadcast_to(vectors, (len(embeds), *vectors.shape))
        return self.decoder(embeds, tgt_mask, encoder_out, mask, entries, options.clas_scale)
