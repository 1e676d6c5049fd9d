"""What a SenseVoiceSmall decides: the best token of every frame, the text, and when its words are said."""

from __future__ import annotations

import itertools
import math

from mlx_model.parts.queries import QUERIES
from parity.decisions import tokens
from parity.decisions.decision import decision, rounding
from parity.sides.candidate import CandidateRun
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow


class Decisions(tokens.TokenDecisions):
    """Tokens frame by frame, then text and times."""

    LOGITS = "ctc.ctc_lo"

    def made(self, utterance: TracedUtterance, recorded: Recorded) -> dict[str, int]:
        """Return how many frames FunASR read a token from, blanks among them, and how many words it timed."""
        return {"token": recorded.plain["feats"].shape[1] + QUERIES, "time": len(utterance.more["words"] or [])}

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every arg-max on which the sides differ, and the first word whose text or time does."""
        found = super().decide(utterance, recorded, run)
        if self.LOGITS not in run.taps:
            return found
        theirs, ours = utterance.more["words"], self.candidate.words(run.taps[self.LOGITS])  # pyright: ignore[reportAttributeAccessIssue]
        if theirs == ours:
            return found
        pairs = itertools.zip_longest(theirs or [], ours or [])
        at, sides = next((place, pair) for place, pair in enumerate(pairs) if pair[0] != pair[1])
        # FunASR's own float32 and float64 runs may place a word differently; so may ours, then.
        settled = utterance.more["words_settled"] and not rounding(found, "token")
        texts = (str(sides[0]), str(sides[1]))
        return [*found, decision("time", utterance.utt_id, at, texts, math.inf if settled else 0.0, 0.0)]
