r"""`--format tsv` of tab\there.wav and new\nline.wav has rows of five fields and of one, and exit code 0."""

from __future__ import annotations

import pytest

from mlx_model.pipelines.detect import FORMATS as VAD_FORMATS
from mlx_model.pipelines.detect import tsv_rows
from mlx_model.text.formats import FORMATS
from mlx_model.text.results import Detection, Transcript

NAMES = ["tab\there.wav", "new\nline.wav", "return\r.wav", "back\\slash.wav", "separator\u2028.wav", "plain.wav"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_header_s_fields(name: str):
    results = [Transcript(path=name, text="一\t二", token_ids=[], duration_s=1.0, error="a\nb")]
    tables = [FORMATS["tsv"](results), VAD_FORMATS["tsv"]([Detection(path=name, segments=[[0, 10], [20, 30]])])]
    for table, fields, rows in zip(tables, (4, 3), (2, 3), strict=True):
        assert [len(row.split("\t")) for row in table.splitlines()] == [fields] * rows
    assert tsv_rows(name, [[0, 1]]).count("\t") == 2  # what `vad --stream` prints as it goes


def test_the_escapes_are_the_documented_ones():
    found = [tsv_rows(name, [[0, 1]]).split("\t")[0] for name in NAMES]
    assert found == [
        r"tab\there.wav", r"new\nline.wav", r"return\r.wav", r"back\\slash.wav", r"separator\u2028.wav", "plain.wav",
    ]  # fmt: skip
