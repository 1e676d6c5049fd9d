"""The GPU's rows in few shapes, run on the CPU device. Oracle: the plain path, which parity holds against FunASR."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mlx_model import engines, ops
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.engines import shapes
from mlx_model.machine import device
from mlx_model.machine.blas import mx
from mlx_model.models.paraformer import Model, ParaformerOutput
from mlx_model.parts.cif import PREDICTORS, fixed_point_sum, running_sum
from tests.conftest import ROOT, speech_like
from tests.mlx_model.asr_models import CONFIG
from tests.mlx_model.engines.test_lanes import EXTRA
from tests.mlx_model.engines.test_lanes import random_model as unfit_model
from tests.mlx_model.parts.test_cif import predictor

SHIFTED = dataclasses.replace(CONFIG.encoder, sanm_shfit=2)
NO_TAIL = dataclasses.replace(CONFIG.predictor, tail_threshold=0.0)
CONFIGS = {
    "plain": CONFIG,
    "extra": dataclasses.replace(CONFIG, decoder=EXTRA),
    "shifted": dataclasses.replace(CONFIG, encoder=SHIFTED),
    "no_tail": dataclasses.replace(CONFIG, predictor=NO_TAIL),
    "v1": dataclasses.replace(CONFIG, predictor_class="CifPredictor"),
}


def random_model(config: ParaformerConfig) -> Model:
    model = unfit_model(config)
    engines.fit(model)
    return model


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything take the GPU's way, with MLX's own kernels, on whatever device there is."""
    monkeypatch.setattr(device, "on_gpu", lambda: True)


def outputs(model: Model, lengths: list[int], seed: int = 1) -> ParaformerOutput:
    mx.random.seed(seed)
    return model(mx.random.normal((len(lengths), max(lengths), 560)), mx.array(lengths))


def assert_same(plain: ParaformerOutput, found: ParaformerOutput, lengths: list[int]) -> None:
    """Everything that belongs to a recording is the same: counts and firings exactly, the rest to float32 rounding."""
    assert plain.logits.shape == found.logits.shape
    np.testing.assert_array_equal(np.array(plain.token_num), np.array(found.token_num))
    for row, (length, count) in enumerate(zip(lengths, np.array(plain.token_num).tolist(), strict=True)):
        steps = length + plain.alphas.shape[1] - max(lengths)
        np.testing.assert_array_equal(np.array(plain.fires)[row, :steps], np.array(found.fires)[row, :steps])
        for name, end in (("encoder_out", length), ("alphas", steps), ("logits", count)):
            one, other = (np.array(getattr(output, name))[row, :end] for output in (plain, found))
            np.testing.assert_allclose(other, one, atol=2e-5, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("name", list(CONFIGS))
@pytest.mark.parametrize("lengths", [[50], [16], [40, 7, 33], [2, 3], [1], [31, 32, 33, 5, 20, 9, 1, 2, 30]])
def test_every_shape_gives_what_the_plain_path_gives(name: str, lengths: list[int], request: pytest.FixtureRequest):
    model = random_model(CONFIGS[name])
    with engines.plain():
        plain = outputs(model, lengths)
        mx.eval(plain)
    request.getfixturevalue("on_gpu")
    assert_same(plain, outputs(model, lengths), lengths)
    model.compile()
    for _ in range(2):  # the second time by a graph that is there already
        assert_same(plain, outputs(model, lengths), lengths)


def test_speech_alone_and_in_batches(request: pytest.FixtureRequest, demo: Model):
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((0.4, 2.9, 1.3, 2.1, 0.05))]
    plain = [demo.recognize([waveform])[0] for waveform in waveforms]
    request.getfixturevalue("on_gpu")
    assert any(plain)
    assert [demo.recognize([waveform])[0] for waveform in waveforms] == plain
    assert demo.recognize(waveforms) == plain
    assert demo.recognize(waveforms[::-1]) == plain[::-1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Model:
    import convert
    import mlx_model

    folder = tmp_path_factory.mktemp("demo")
    convert.convert(ROOT / "parity/demo/model", folder / "model")
    return mlx_model.load(folder / "model")


def test_silence_alone_and_beside_speech(on_gpu: None):
    model = random_model(CONFIG)
    silent(model)
    assert outputs(model, [20, 9]).logits.shape == (2, 0, CONFIG.vocab_size)
    assert model.token_ids(outputs(model, [20, 9])) == [[], []]


def test_a_batch_begins_for_as_many_tokens_as_the_last_of_its_shape(on_gpu: None, monkeypatch: pytest.MonkeyPatch):
    """Few, then many, then none: each gives what a model gives that has seen no other batch."""
    asked: list[int] = []
    spell = shapes.Steps.spell
    monkeypatch.setattr(shapes.Steps, "spell", lambda self, *given: asked.append(given[-1]) or spell(self, *given))
    model, lengths = random_model(CONFIG), [90, 80]
    bias = model.predictor.cif_output.bias
    for number, (more, expected) in enumerate([(-3.0, [16]), (3.0, [16, 96]), (-3.0, [96]), (-50.0, [16])]):
        asked.clear()
        model.predictor.cif_output.bias = bias + more
        found = outputs(model, lengths)
        assert asked == expected, number
        fresh = random_model(CONFIG)
        fresh.predictor.cif_output.bias = bias + more
        assert_same(outputs(fresh, lengths), found, lengths)


def silent(model: Model) -> None:
    """Let no frame weigh anything."""
    model.predictor.cif_output.weight = mx.zeros_like(model.predictor.cif_output.weight)
    model.predictor.cif_output.bias = mx.full((1,), -50.0)


def test_exchanged_weights_are_used(on_gpu: None):
    """At once where nothing is compiled, as when layers are quantised or cast; by the next `compile` where it is."""
    model = random_model(CONFIG)

    def exchange() -> None:
        model.decoder.output_layer.weight = model.decoder.output_layer.weight * 2
        model.encoder.after_norm.bias = model.encoder.after_norm.bias + 1

    def encoded() -> np.ndarray:
        return np.array(outputs(model, [20]).encoder_out)

    before = encoded()
    exchange()
    between = encoded()
    assert not np.allclose(before, between)
    model.compile()
    np.testing.assert_allclose(encoded(), between, atol=2e-5)
    exchange()
    model.compile()
    assert not np.allclose(encoded(), between)


def test_graphs_are_bounded(on_gpu: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shapes, "MOST_SHAPES", 3)
    model = random_model(CONFIG)
    model.compile()
    for length in range(1, 100):
        outputs(model, [length])
    steps = vars(model)[ops.AHEAD].steps_of(model)
    heard = steps.listener.cache_info()
    assert (heard.misses, heard.currsize) == (7, 3)  # 16, 32, ... 112 frames
    assert steps.speller.cache_info().currsize <= 3


@pytest.mark.parametrize(("shape", "most", "exact"), [(shapes.time_shape, 1 / 16, 256), (shapes.batch_shape, 1 / 8, 1)])
def test_shapes_are_few_and_close(shape: Callable[[int], int], most: float, exact: int):
    allowed = {size: shape(size) for size in range(1, 5001)}
    assert all(size <= padded == shape(padded) for size, padded in allowed.items())
    assert max(padded / size - 1 for size, padded in allowed.items() if size > exact) <= most
    assert len(set(allowed.values())) < 90


def test_the_front_end_waits_for_nothing(monkeypatch: pytest.MonkeyPatch):
    """mx.compile refuses to wait. `listen` and `spell` run under it; so the counts between them are all there is."""
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    model = random_model(CONFIG)
    waveforms = mx.array(np.stack([speech_like(1.0, seed) for seed in (0, 1)]))
    features = mx.compile(lambda waveforms, samples: model.frontend(waveforms, samples)[0])
    assert features(waveforms, mx.array([16000, 9000])).shape[0] == 2


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 1359, 1360, 16000, 48123])
def test_the_host_counts_features_as_the_device_does(samples: int):
    model = random_model(CONFIG)
    feats, lengths = model.frontend(mx.zeros((1, samples)), mx.array([samples]))
    assert [model.frontend.steps(samples)] == lengths.tolist() == [feats.shape[1]]


def alphas_that_are_hard() -> Iterator[np.ndarray]:
    """Random ones of all sizes, and sums that end on, just below and just above whole tokens."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 0.3, 1e-3, 1e-5):
        yield (rng.random((4, 2000)) * scale).astype(np.float32)
    yield rng.random((2, 15000)).astype(np.float32)
    for step in (0.5, 0.25, 1 / 3, 0.1, 1.0, 0.2):
        yield np.full((1, 999), step, np.float32)
        yield np.nextafter(np.full((1, 999), step, np.float32), np.float32(0))
        yield np.nextafter(np.full((1, 999), step, np.float32), np.float32(1))
    yield np.zeros((1, 50), np.float32)
    yield (10.0 ** rng.uniform(-12, 0, (4, 3000))).astype(np.float32)


@pytest.mark.parametrize("tail", [0.45, 0.0])
@pytest.mark.parametrize("version", list(PREDICTORS))
def test_fixed_point_fires_where_float64_does(version: str, tail: float):
    model = predictor(PREDICTORS[version], tail_threshold=tail)
    for alphas in alphas_that_are_hard():
        exact, found = model.fire(mx.array(alphas)), model.fire_on_device(mx.array(alphas))
        for name in ("whole", "fired", "token_num"):
            np.testing.assert_array_equal(np.array(getattr(found, name)), np.array(getattr(exact, name)), err_msg=name)
        np.testing.assert_allclose(np.array(found.part), np.array(exact.part), atol=1e-8)


def test_fixed_point_is_the_float64_sum():
    """Exactly, for alphas from 2^-17 on; far below a float32's last digit for smaller ones."""
    for alphas in alphas_that_are_hard():
        exact, found = np.array(running_sum(mx.array(alphas))), np.array(fixed_point_sum(mx.array(alphas)))
        if alphas[alphas > 0].min(initial=1.0) >= 2.0**-17:
            np.testing.assert_array_equal(found, exact * 2.0**40)
        np.testing.assert_allclose(found / 2.0**40, exact, atol=alphas.shape[1] * 2.0**-41)


def test_fixed_point_holds_a_day_of_speech():
    """A sum of 1.5 million tokens: alphas of 1 at every frame of 24 hours."""
    found = fixed_point_sum(mx.ones((1, 1_440_000)))
    assert np.array(found)[0, -1] == 1_440_000 << 40
