"""What is suspicious about a hypothesis whose number of tokens CIF chose: too many, too few, one over and over.

CIF counts whole tokens in a running sum of weights; where the sum is nearly enough for one more, or was hardly enough
for the last one, and the decoder is unsure of some token as well, the count may be wrong. Numbers only; checked against
real errors, see parity/cer/README.md. Imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

OVER, UNDER, REPEATED = "over_generation", "under_generation", "repetition"
HARDLY = 0.33  # a token's weight that the sum lacked, where FunASR's tail of 0.45 made up for it
NEARLY = 0.30  # of a token that was heard and not counted
UNSURE = 0.5  # the least sure token has a smaller posterior
OFTEN = 4  # times in a row


def flags(total: float, counted: int, token_ids: Sequence[int], confidences: Sequence[float]) -> list[str]:
    """Return what is suspicious, by the names above.

    Args:
        total: the sum of CIF's weights over the recording, without the tail that is added to it.
        counted: how many tokens CIF found, those that print nothing included.
        token_ids: the tokens that are printed.
        confidences: of these.
    """
    rest, found = total - counted, []
    if min(confidences, default=0.0) < UNSURE:
        found += [OVER] if rest < -HARDLY else [UNDER] if rest > NEARLY else []
    if any(len(list(run)) >= OFTEN for _, run in groupby(token_ids)):
        found.append(REPEATED)
    return found
