"""A converted SenseVoiceSmall under test: queries and words beside the taps; all else as of any batched recognizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlx_model.decoding import greedy, timestamps
from mlx_model.decoding.timestamps import Timed
from mlx_model.machine.blas import mx, nn
from mlx_model.models.sense_voice import Best
from mlx_model.parts.queries import LANGUAGE_ROWS
from mlx_model.text.results import Word
from parity.families.sense_voice import cases
from parity.sides.batches import BatchCandidate


class Candidate(BatchCandidate):
    """Taps and token ids of a SenseVoiceSmall."""

    def scores(self, output: Any) -> tuple[mx.array, list[int]]:
        """Return the logits (B, T, V), and how many frames each utterance has, the queries' among them."""
        return output.logits, output.lengths

    def parts(self) -> list[nn.Module]:
        """Return the table of queries, encoder and CTC: the front end stays float32."""
        return [self.model.embed, self.model.encoder, self.model.ctc]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return [*self.model.encoder.encoders, *self.model.encoder.tp_encoders]

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return which rows of the table stand in front of the features, and what is read of the scores of cases.py."""
        rows: dict[str, int] = {}
        for language in LANGUAGE_ROWS:
            for style, use_itn in (("withitn", True), ("woitn", False)):
                found = self._rows(language, use_itn)
                rows |= {language: found[0], "second": found[1], "third": found[2], style: found[3]}
        size, blank, made_up = self.model.config.vocab_size, self.model.config.blank_id, {}
        for case in cases.cases(size):
            read = greedy.runs(case.scores.argmax(axis=-1), blank)
            ids = [[token] for token in case.aligned]
            words = timestamps.funasr_words(case.scores[cases.QUERIES :], case.pieces, ids, blank)
            made_up[case.name] = ([run.token_id for run in read], _timed(words))
        return {"queries": rows, **cases.facts(made_up)}

    def _rows(self, language: str, use_itn: bool) -> list[int]:
        table = self.model.embed.weight
        return [int((table == query).all(axis=-1).argmax().item()) for query in self.model.embed(language, use_itn)]

    def words(self, logits: np.ndarray) -> list[list[Any]] | None:
        """Return [text, start_ms, end_ms] of each word of one utterance's logits (1, T, V), as FunASR finds them."""
        scores = mx.array(logits)
        best = Best(scores.argmax(axis=-1), [logits.shape[1]], scores)
        options = self.model.Options(as_funasr=True, output_timestamp=True)
        return _timed(self.model.hypotheses(best, options)[0].words)


def _timed(words: Sequence[Word | Timed] | None) -> list[list[Any]] | None:
    """Return [text, start_ms, end_ms] of each word."""
    return None if words is None else [[word.text, word.start_ms, word.end_ms] for word in words]
