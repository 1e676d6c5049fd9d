"""SeacoParaformer: a Paraformer with times, beside which a second decoder attends to hotwords. One file per family.

Mirrors funasr/models/seaco_paraformer/model.py::SeacoParaformer.inference without beam search or language model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float, UInt

from mlx_model import ops
from mlx_model.config.seaco_paraformer import SeacoParaformerConfig
from mlx_model.decoding.hotwords import Hotwords, ids_of, words_of
from mlx_model.errors import UsageError
from mlx_model.machine import device
from mlx_model.machine.blas import mx
from mlx_model.models import bicif_paraformer, paraformer
from mlx_model.models.bicif_paraformer import BiCifParaformerOptions
from mlx_model.models.paraformer import LAYER_NORM_EPS, Best, ParaformerOptions, ParaformerOutput
from mlx_model.ops import Mask, TokenMask
from mlx_model.parts.basic import Linear
from mlx_model.parts.cif import PREDICTORS, CifPredictorBase
from mlx_model.parts.cif_v3 import CifPredictorV3
from mlx_model.parts.hotwords import Ids, KeptVectors, hotword_vectors
from mlx_model.parts.lstm import LSTM
from mlx_model.parts.seaco import (
    FILTER_LAYER,
    KEPT,
    EmbeddingDecoder,
    SeacoDecoder,
    best_entries,
    hotword_scores,
    merge,
)
from mlx_model.text.results import Hypothesis

BIAS_LAYERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SeacoParaformerOptions(BiCifParaformerOptions):
    """What can be asked of a SeacoParaformer.

    An empty list of hotwords is no list: as_funasr it is one without an entry, with which the bias branch runs all the
    same, and may change the text.

    Raises:
        UsageError: hotwords that cannot be read (`decoding.hotwords.words_of`).
    """

    hotwords: str | Path | Sequence[str] | None = field(
        default=None, metadata={"help": "Words to listen for: a file with one a line, or words with blanks between."}
    )
    hotword_urls: bool = field(default=False, metadata={"help": "Fetch hotwords that are an address of the web."})

    def __post_init__(self) -> None:
        """Read the hotwords, once."""
        words = words_of(self.hotwords, as_funasr=self.as_funasr, allow_urls=self.hotword_urls)
        object.__setattr__(self, "hotwords", words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A list that was looked up, and the options that asked for it."""

    options: SeacoParaformerOptions
    ids: Ids | None


class Model(bicif_paraformer.Model):
    """A SeacoParaformer. Beside a BiCifParaformer's: bias_encoder, lstm_proj, seaco_decoder, hotword_output_layer.

    A list of hotwords is looked up and encoded once, and the result kept for as long as the same list is given: for
    all batches of a call, and for all calls with the same words.
    """

    Options: ClassVar[type[ParaformerOptions]] = SeacoParaformerOptions
    PREDICTORS: ClassVar[Mapping[str, type[CifPredictorBase]]] = {**PREDICTORS, "CifPredictorV3": CifPredictorV3}
    config: SeacoParaformerConfig
    decoder: EmbeddingDecoder

    def __init__(self, config: SeacoParaformerConfig):
        super().__init__(config)
        size, directions = config.encoder.output_size, 2 if config.bias_encoder_bid else 1
        self.decoder = EmbeddingDecoder(config.vocab_size, size, config.decoder, LAYER_NORM_EPS)
        self.bias_encoder = LSTM(size, size, layers=BIAS_LAYERS, bidirectional=config.bias_encoder_bid)
        self.lstm_proj = Linear(directions * size, size) if config.bias_encoder_bid else None
        self.seaco_decoder = SeacoDecoder(size, config.seaco_decoder, LAYER_NORM_EPS)
        self.hotword_output_layer = Linear(size, config.vocab_size)
        self._listed: Listed | None = None
        self._encoded = KeptVectors()

    # ---- times, which only CifPredictorV3 has

    @property
    def _is_timed(self) -> bool:
        return isinstance(self.predictor, CifPredictorV3)

    def after(self, output: ParaformerOutput, mask: Mask) -> Iterator[tuple[str, ParaformerOutput]]:
        """Yield the stage of the times, where there are any."""
        return super().after(output, mask) if self._is_timed else paraformer.Model.after(self, output, mask)

    def best(self, output: ParaformerOutput, *, confidence: bool = False, nbest: int = 0) -> Best:
        """Return what `hypotheses` needs of an output, being computed."""
        asked = {"confidence": confidence, "nbest": nbest}
        return super().best(output, **asked) if self._is_timed else paraformer.Model.best(self, output, **asked)

    def hypotheses(
        self, best: Best, options: ParaformerOptions | None = None, *, times: bool = False
    ) -> list[Hypothesis]:
        """Return one Hypothesis per utterance, with `words` where the predictor has times."""
        if self._is_timed:
            return super().hypotheses(best, options, times=times)
        return paraformer.Model.hypotheses(self, best, options, times=times)

    # ---- the list

    def hotwords(self, options: SeacoParaformerOptions | None) -> Hotwords | None:
        """Return the list that is asked for, looked up in the vocabulary; None where the bias branch is not to run.

        Raises:
            UsageError: a list that cannot be read, or one that this model cannot take.
        """
        if options is None or options.hotwords is None:
            return None
        words: Any = options.hotwords  # read by now
        found = ids_of(
            words, self.tokenizer, getattr(self, "seg_dict", None), as_funasr=options.as_funasr, sos=self.config.sos
        )  # fmt: skip
        layers = self.config.seaco_decoder.att_layer_num
        if len(found.ids) > KEPT and layers <= FILTER_LAYER:
            raise UsageError(
                f"{len(found.ids) - 1} hotwords: of more than {KEPT - 1} the best {KEPT} are kept by the attention of "
                f"seaco_decoder's layer {FILTER_LAYER + 1}, and this model has {layers} such layers"
            )
        return found

    def hotword_ids(self, options: SeacoParaformerOptions | None) -> Ids | None:
        """Return the token ids of the list, [sos] behind it; None where the bias branch is not to run.

        A list without a word is none, but for FunASR.
        """
        if options is None or options.hotwords is None:
            return None
        if self._listed is None or self._listed.options is not options:
            found = self.hotwords(options)
            self._listed = Listed(options=options, ids=None if found is None else found.ids)
        ids = self._listed.ids
        return None if ids is None or (len(ids) < 2 and not options.as_funasr) else ids

    def hotword_vectors(self, ids: Ids) -> Float[mx.array, "N D"]:
        """Return one vector for each entry; kept, unless single modules are watched."""
        table = self.decoder.embed[0]["weight"]
        if ops.chosen() is not None:
            return hotword_vectors(table, self.bias_encoder, self.lstm_proj, ids)
        return self._encoded.of(table, self.bias_encoder, self.lstm_proj, ids)

    # ---- the branch

    def decode(
        self,
        embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        encoder_out: Float[mx.array, "B T D"],
        mask: Mask,
        options: Any,
    ) -> Float[mx.array, "B U V"]:
        """Return the logits of every token, of whichever decoder has it.

        Mirrors SeacoParaformer._seaco_decode_with_ASF, whose log-softmax is left out: no choice depends on it.
        """
        ids = self.hotword_ids(options)
        if ids is None:
            return self.decoder(embeds, tgt_mask, encoder_out, mask)
        logits, hidden = self.decoder.both(embeds, tgt_mask, encoder_out, mask)
        entries = self.entries(hidden, tgt_mask, self.hotword_vectors(ids))
        cif, states = (self.seaco_decoder(x, tgt_mask, entries) for x in (embeds, hidden))
        return merge(logits, self.hotword_output_layer(self.attended(cif, states)), self.config.no_bias)

    def entries(
        self, hidden: Float[mx.array, "B U D"], tgt_mask: TokenMask, vectors: Float[mx.array, "N D"]
    ) -> Float[mx.array, "B K D"]:
        """Return what each recording's tokens attend to: all hotwords, or of a long list those that fit best."""
        if len(vectors) > KEPT:
            return vectors[self.kept_entries(hidden, tgt_mask, vectors)]
        return mx.broadcast_to(vectors, (len(hidden), *vectors.shape))

    def kept_entries(
        self, hidden: Float[mx.array, "B U D"], tgt_mask: TokenMask, vectors: Float[mx.array, "N D"]
    ) -> UInt[mx.array, "B K"]:
        """Return the numbers of the entries that each recording keeps."""
        return best_entries(self.scores(hidden, tgt_mask, vectors))

    def scores(
        self, hidden: Float[mx.array, "B U D"], tgt_mask: TokenMask, vectors: Float[mx.array, "N D"]
    ) -> Float[mx.array, "B N"]:
        """Return how much each recording's tokens attend to every entry."""
        memory = vectors[None]  # one list for all recordings: its keys are computed once
        if device.on_gpu():  # whose attention wants as many of both
            memory = mx.broadcast_to(memory, (len(hidden), *vectors.shape))
        return hotword_scores(self.seaco_decoder.forward_asf6(hidden, tgt_mask, memory), tgt_mask)

    def attended(self, cif: Float[mx.array, "B U D"], states: Float[mx.array, "B U D"]) -> Float[mx.array, "B U D"]:
        """Return what is read out: the sum of what the embeddings and what the recogniser's states have found."""
        return cif + states
