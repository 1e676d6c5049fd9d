"""Normalisers: each row of the table on text that tells them apart. Oracles: hand, FunASR's own expression."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import UsageError
from parity.cer.normalize import DEFAULT, NORMALIZERS, find_normalizer

SPOKEN = "  打开 Wi-Fi，\u3000二十度\u00a0。 \n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "打开 Wi-Fi，\u3000二十度\u00a0。"),
        ("aishell", "打开Wi-Fi，二十度。"),
        ("funasr", "打开WIFI二十度"),
    ],
)
def test_each_normaliser_on_one_sentence(name, expected):
    assert find_normalizer(name)(SPOKEN) == expected


def test_the_table_is_named_versioned_and_says_its_steps():
    assert DEFAULT == "aishell"
    assert {name: (row.version, row.step_names) for name, row in NORMALIZERS.items()} == {
        "none": (1, ["strip white space at both ends"]),
        "aishell": (1, [r"remove white space (\s)"]),
        "funasr": (1, [r"remove all but word characters ([^\w一-鿿])", "upper case"]),
    }


@given(st.text())
def test_funasr_is_the_expression_of_its_benchmark(text):
    # Oracle: FunASR benchmarks/benchmark_pipeline_cer.md, normalize_zh.
    assert find_normalizer("funasr")(text) == re.sub(r"[^\w一-鿿]", "", text).upper()


@given(st.text(), st.sampled_from(["none", "aishell"]))
def test_normalising_twice_changes_nothing(text, name):
    normalizer = find_normalizer(name)
    assert normalizer(normalizer(text)) == normalizer(text)


@pytest.mark.parametrize(("name", "near"), [("aishel", "aishell"), ("FunASR", "funasr"), ("None", "none")])
def test_an_unknown_name_is_refused_with_the_nearest(name, near):
    with pytest.raises(UsageError, match=rf"'{name}'; did you mean '{near}'\? \(there are: none, aishell, funasr\)"):
        find_normalizer(name)
