"""Recipes of bits. Oracles: sums by hand, MLX's packed layers, and the written model run with its layers packed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlx_funasr
from mlx_model.errors import UsageError
from mlx_model.loading import load_as
from mlx_model.roles import Recognizer
from mlx_model.text.results import Hypothesis
from parity.demo import SPEECH
from parity.precision import Budget, search
from parity.precision.recipe import climbed, find, ladder
from parity.precision.search import Measure, Speech, paired_difference
from parity.precision.trial import Trial

LEVELS = (4, 6, 8)
TEST = SPEECH / "wav/test/D0001"


@pytest.mark.parametrize(
    ("text", "kind", "limit"), [("tokens=0", "tokens", 0), (" cer=+0.05", "cer", 0.05), ("cer=1", "cer", 1)]
)
def test_budgets(text: str, kind: str, limit: float):
    assert Budget.parse(text) == Budget(kind, limit)


@pytest.mark.parametrize("text", ["", "tokens", "tokens=-1", "tokens=0.5", "wer=1", "cer=-1", "cer=nan"])
def test_a_budget_that_means_nothing_is_refused(text: str):
    with pytest.raises(UsageError, match="tokens=0"):
        Budget.parse(text)


def bytes_of(name: str, bits: int | None) -> float:
    return len(name) * (bits or 32)


@given(st.dictionaries(st.text("abc", min_size=1), st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=6))
def test_the_ladder_goes_from_least_to_full_one_step_of_a_layer_after_the_other(rows: dict[str, tuple[float, ...]]):
    errors = {name: dict(zip(LEVELS, row, strict=True)) for name, row in rows.items()}
    steps = ladder(errors, LEVELS, bytes_of)
    least = dict.fromkeys(errors, 4)
    for name in errors:
        assert [bits for module, bits in steps if module == name] == [6, 8, None]
    assert climbed(least, []) == least
    assert climbed(least, steps) == {}
    sizes = [sum(bytes_of(n, climbed(least, steps[:k]).get(n)) for n in errors) for k in range(len(steps) + 1)]
    assert sizes == sorted(sizes)


def test_the_ladder_takes_most_error_per_byte_first():
    """By hand: a's first step takes 0.16 - 0.01 away for 2 bytes, b's 0.09 - 0.01 for 2, then a's 0.01 - 0 for 2."""
    errors = {"a": {4: 0.4, 6: 0.1, 8: 0.0}, "b": {4: 0.3, 6: 0.1, 8: 0.1}}
    assert ladder(errors, LEVELS, bytes_of)[:3] == [("a", 6), ("b", 6), ("a", 8)]


class MadeUp:
    """A trial whose layers err as told; what is `heard` are the layers that are quantised."""

    def __init__(self, errors: dict[str, float]):
        self.errors, self.names = errors, list(errors)
        self.bytes_of = bytes_of

    def error(self, bits: dict[str, int]) -> float:
        [(name, number)] = bits.items()
        return self.errors[name] / number

    def heard(self, bits: dict[str, int]) -> list[list[str]]:
        return [list(bits)]

    def size_mb(self, bits: dict[str, int]) -> float:
        return sum(bytes_of(name, bits.get(name)) for name in self.names)


def test_where_no_list_of_steps_holds_layers_are_tried_one_by_one():
    """The layer that flips a token errs least, so every list of steps holds it to the last."""
    trial = MadeUp({"a": 0.3, "b": 0.01, "c": 0.2})
    found = find(trial, Budget("tokens", 0), lambda ids: float("b" in ids[0]), levels=LEVELS)
    assert (found.modules, found.cost) == ({"c": 8, "a": 8}, 0)
    with pytest.raises(UsageError, match="allows no layer to be quantised"):
        find(trial, Budget("tokens", 0), lambda ids: float(len(ids[0])), levels=LEVELS)


def test_a_layer_that_nothing_is_heard_of_keeps_its_bits():
    """A SeACo's hotword branch without hotwords: no bits change a number, so no bits are known to be enough."""
    trial = MadeUp({"a": 0.3, "branch": 0.0, "c": 0.2})
    found = find(trial, Budget("tokens", 3), lambda ids: 0.0, levels=LEVELS)
    assert (found.modules, found.unread) == ({"a": 4, "c": 4}, ("branch",))


@pytest.fixture(scope="module")
def waveforms() -> list[np.ndarray]:
    from mlx_model.audio.files import load_audio

    return [load_audio(path, 16000) for path in sorted(TEST.glob("*.wav"))[:4]]


def test_a_trial_gives_what_the_packed_layers_give_and_leaves_the_model_as_it_was(converted: Path, waveforms):
    import mlx.core as mx

    model = load_as(converted, Recognizer)
    trial = Trial(model, waveforms, 32)
    assert trial.error({}) == 0.0
    assert trial.changed(trial.heard({})) == 0
    name = next(name for name in trial.names if trial.weights[name].shape[1] % 32)  # zeros fill the last group
    packed = trial.linear[name].to_quantized(group_size=32, bits=4)
    x = mx.random.normal((5, trial.weights[name].shape[1]))
    expected = packed(x)
    assert trial.error({name: 4}) > trial.error({name: 8}) > 0.0
    trial.use({name: 4})
    np.testing.assert_allclose(np.array(trial.linear[name](x)), np.array(expected), atol=1e-4)
    trial.use({})
    assert trial.linear[name].weight is trial.weights[name]


def test_a_recipe_keeps_its_budget_and_is_no_larger_than_need_be(converted: Path):
    """Were the lowest bits everywhere good enough, they would be the recipe. More bits in a layer, less error."""
    searched = search(converted, Budget("tokens", 0), audio=[TEST], limit=1, levels=(4, 8), group_size=32)
    document = searched.document
    assert searched.found.cost == 0
    uniform = {row["bits"]: row for row in document["uniform"]}
    assert uniform[None]["tokens"] == 0
    assert uniform[4]["size_mb"] <= document["size_mb"] <= uniform[None]["size_mb"]
    assert uniform[4]["size_mb"] < uniform[8]["size_mb"] < uniform[None]["size_mb"]
    for name, row in document["errors"].items():
        assert row["4"] > row["8"] > 0, name
    assert (document["size_mb"] > uniform[4]["size_mb"]) == (uniform[4]["tokens"] > 0)


def test_a_difference_has_the_standard_error_of_resampled_utterances():
    """Oracle: the spread of the difference over bootstrap samples of the utterances."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 30, 400)
    errors = rng.binomial(1, 0.05, 400) * rng.integers(-1, 3, 400)
    difference, error = paired_difference(errors, lengths)
    assert difference == errors.sum() / lengths.sum()
    picked = rng.integers(0, 400, (4000, 400))
    assert error == pytest.approx(np.std(errors[picked].sum(axis=1) / lengths[picked].sum(axis=1)), rel=0.05)
    assert paired_difference(np.zeros(5), np.zeros(5)) == (0.0, 0.0)


def heard(texts: str) -> list[Hypothesis]:
    return [Hypothesis(token_ids=["abcd".index(text)], text=text) for text in texts]


def test_a_budget_of_cer_holds_with_a_standard_error_to_spare():
    """By hand: 4 utterances of 1 character, one wrong more and one less are no difference, but an error of sqrt(2)/4.
    Two less are a gain, which counts as none."""
    trial = SimpleNamespace(changed=lambda heard: 2, before=heard("abcd"))
    measure = Measure(trial, Speech(waveforms=[], texts=["a", "b", "a", "a"], skipped=[]))  # type: ignore[arg-type]
    assert measure(heard("acad")) == {"tokens": 2, "cer": 0.0, "cer_se": pytest.approx(100 * 2**0.5 / 4)}
    assert measure.of_kind("cer", heard("acad")) == pytest.approx(100 * 2**0.5 / 4)
    better = heard("abaa")
    assert measure(better)["cer"] == -50.0
    assert measure.of_kind("cer", better) == pytest.approx(measure(better)["cer_se"])
    assert measure.of_kind("tokens", better) == 2


def test_quantize_writes_what_it_measured(converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["quantize", str(converted), str(tmp_path / "out"), "--data", str(SPEECH), "--limit", "2", "--json"]
    options = ["--budget", "cer=+2", "--group-size", "32", "--bits", "8", "--bits", "4"]
    assert mlx_funasr.app([*command, *options], standalone_mode=False) in (0, None)
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "out/recipe.json").read_text("utf-8"))
    assert document["schema"] == "recipe/1"
    assert document["measured"]["cer"] <= 2
    settings = json.loads((tmp_path / "out/config.json").read_text("utf-8"))["quantization"]
    assert settings["modules"] == document["modules"]
    assert settings["bits"] == min(document["modules"].values())
    model = load_as(tmp_path / "out", Recognizer)
    assert {name: model_bits(model, name) for name in settings["modules"]} == settings["modules"]
    file = (tmp_path / "out/model.safetensors").read_bytes()
    size = len(file) - 8 - int.from_bytes(file[:8], "little")  # without its header
    assert size / 1e6 == pytest.approx(document["size_mb"], rel=1e-6)
    assert "Weights quantised by measurement" in (tmp_path / "out/README.md").read_text("utf-8")
    assert "Weights quantised by measurement" in (tmp_path / "out/conversion.json").read_text("utf-8")
    again = ["quantize", str(tmp_path / "out"), str(tmp_path / "again"), "--audio", str(TEST)]
    with pytest.raises(UsageError, match="quantised already"):
        mlx_funasr.app(again, standalone_mode=False)


def model_bits(model, name: str) -> int:
    return dict(model.named_modules())[name].bits


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--budget", "cer=+1", "--audio", str(TEST)], "needs transcripts"),
        ([], "--audio PATH"),
        (["--audio", str(TEST), "--data", str(SPEECH)], "--audio PATH"),
        (["--audio", str(TEST), "--group-size", "7"], "group size 7"),
        (["--audio", str(TEST), "--bits", "5"], "bits = 5"),
        (["--audio", "absent.wav"], "no such file"),
    ],
)
def test_wrong_arguments_write_nothing(converted: Path, tmp_path: Path, options: list[str], says: str):
    with pytest.raises(UsageError, match=says):
        mlx_funasr.app(["quantize", str(converted), str(tmp_path / "out"), *options], standalone_mode=False)
    assert not list(tmp_path.iterdir())
