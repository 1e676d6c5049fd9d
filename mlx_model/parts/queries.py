"""SenseVoice's queries: four rows of a table before the features, which behind the encoder are read out as tags.

The first says which language to expect, two ask for event and emotion, the last whether to write numbers and marks.
Mirrors `embed`, `lid_dict` and `textnorm_dict` of funasr/models/sense_voice/model.py::SenseVoiceSmall.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model.machine.blas import mx, nn

LANGUAGE_ROWS = {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12, "nospeech": 13}
SECOND_ROW, THIRD_ROW = 1, 2  # the tags read out at these places are emotion and event, in this order
WITH_ITN_ROW, WITHOUT_ITN_ROW = 14, 15
ROWS = 16  # of the table; those that are not named here FunASR does not use either
QUERIES = 4


class QueryTable(nn.Module):
    """What is asked for -> four rows (4, Din) of `weight` (16, Din)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = mx.zeros((ROWS, width))

    def __call__(self, language: str, use_itn: bool) -> Float[mx.array, "4 Din"]:
        style = WITH_ITN_ROW if use_itn else WITHOUT_ITN_ROW
        return self.weight[mx.array([LANGUAGE_ROWS[language], SECOND_ROW, THIRD_ROW, style])]
