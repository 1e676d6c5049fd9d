"""`cer score --engine funasr`, `cer compare --normalize none`, `cer --batch-seconds nan` were taken and did nothing."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import mlx_funasr
from mlx_model.errors import UsageError
from parity.bench import run
from parity.precision.recipe import Budget


def complaint(*words: str) -> str:
    done = CliRunner().invoke(mlx_funasr.app, words)
    assert isinstance(done.exception, UsageError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    ("words", "option", "fitting"),
    [
        (("cer", "score", "ref", "hyp", "--engine", "mlx"), "--engine", "cer MODEL DATASET"),  # the default, given
        (("cer", "score", "ref", "hyp", "--workers", "2"), "--workers", "cer MODEL DATASET"),
        (("cer", "score", "ref", "hyp", "--batch-seconds", "60"), "--batch-seconds", "cer MODEL DATASET"),
        (("cer", "score", "ref", "hyp", "--allow-pipes"), "--allow-pipes", "cer MODEL DATASET"),
        (("cer", "score", "ref", "hyp", "--parity", "p"), "--parity", "cer compare"),
        (("cer", "compare", "a", "b", "--normalize", "aishell"), "--normalize", "cer MODEL DATASET and cer score"),
        (("cer", "compare", "a", "b", "--unit", "char"), "--unit", "cer MODEL DATASET and cer score"),
        (("cer", "model", "data", "--parity", "p"), "--parity", "cer compare"),
        (("cer", "model", "data", "--format", "trn"), "--format", "cer score"),
    ],
)
def test_an_option_that_means_nothing_is_named_with_the_command_it_belongs_to(words, option, fitting):
    assert complaint(*words).endswith(f": {option} has no meaning here; it belongs to {fitting}")


def test_report_prints_markdown_or_json():
    assert complaint("report", ".", "--markdown", "--json").startswith("report: --json has no meaning beside")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_impossible_numbers_are_refused_before_anything_is_looked_at(value):
    assert complaint("cer", "model", "data", "--batch-seconds", value).startswith("batch seconds ")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "nan", "", "99999", "²"])
def test_workers_are_a_number_or_an_address(value):
    shown = value if value in ("0", "99999") else repr(value)
    assert complaint("cer", "m", "d", "--workers", value).startswith(f"workers {shown}; expected a number from 1 on")


@pytest.mark.parametrize("grid", [{"seconds": [float("nan")]}, {"batch": [0]}, {"rounds": 10**9}, {"threads": 0}])
def test_a_bench_of_nothing_or_for_ever_is_refused(tmp_path, grid):
    with pytest.raises(UsageError, match=rf"--{next(iter(grid))} .*: expected numbers above 0, 10000 at most"):
        run.bench(tmp_path, **grid)


def test_a_budget_is_a_finite_number():
    with pytest.raises(UsageError, match="is no limit"):
        Budget.parse("tokens=" + "9" * 400)


WITHOUT_OUT = (("cer", "score", "a", "b"), ("parity", "check", "model", "trace"), ("bench", "model"))


@pytest.mark.parametrize("words", WITHOUT_OUT)
def test_nothing_is_overwritten_where_nothing_is_written(words):
    assert complaint(*words, "--overwrite") == "--overwrite has no meaning without --out: nothing is written"
