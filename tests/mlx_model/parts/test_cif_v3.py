"""CifPredictorV3. Oracles: FunASR's class and loops in a process of its own; numpy's ConvTranspose1d by definition."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlx_model.config.parts import CifPredictorV3Config
from mlx_model.errors import ConfigError
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.basic import length_mask
from mlx_model.parts.cif_v3 import CifPredictorV3, UpsampleConv
from mlx_model.parts.integrals import PEAK, THRESHOLD, integrals
from tests import forked

LENGTHS = (11, 4, 8)
CASES = {
    "released": {"upsample_type": "cnn_blstm", "use_cif1_cnn": False, "smooth_factor2": 0.25, "noise_threshold2": 0.01},
    "from_cif1": {"upsample_type": "cnn_blstm", "smooth_factor2": 0.8, "tail_threshold": 0.0},
    "no_blstm": {"upsample_type": "cnn", "use_cif1_cnn": False, "smooth_factor": 0.7, "noise_threshold": 0.02},
}
FUNASR = """
import sys
import numpy as np, torch
from funasr.models.bicif_paraformer import cif_predictor as funasr
folder, cases, lengths = sys.argv[1], eval(sys.argv[2]), eval(sys.argv[3])
torch.set_grad_enabled(False)
given = dict(np.load(f"{folder}/loops.npz"))
alphas = torch.from_numpy(given["alphas"])
peaks = funasr.cif_wo_hidden(alphas, 1.0 - 1e-4).numpy()
fires = funasr.cif(torch.zeros(*alphas.shape, 1), alphas, 1.0)[1].numpy()
np.savez(f"{folder}/loops_answer.npz", peaks=peaks, fires=fires)
for name, options in cases.items():
    given = dict(np.load(f"{folder}/{name}.npz"))
    made = funasr.CifPredictorV3(6, 1, 1, **options).eval()
    weights = {key: torch.from_numpy(value) for key, value in given.items() if "." in key}
    for key in ("upsample_cnn.weight", "cif_conv1d.weight"):
        order = (2, 0, 1) if key[0] == "u" else (0, 2, 1)
        weights[key] = weights[key].permute(*order).contiguous()
    made.load_state_dict(weights)
    answers = {}
    for row, length in enumerate(lengths):  # one by one: FunASR's LSTM reads the padding of a batch
        hidden, mask = torch.from_numpy(given["hidden"])[row : row + 1, :length], torch.ones(1, 1, length)
        embeds, tokens, first, fires, _ = made(hidden, None, mask, ignore_id=-1)
        _, _, us_alphas, us_peaks = made.get_upsample_timestamp(hidden, mask, tokens.round().long())
        found = {"acoustic_embeds": embeds, "token_num": tokens.round(), "alphas": first, "fires": fires >= 1.0}
        found |= {"us_alphas": us_alphas, "us_peaks": us_peaks}
        answers |= {f"{key}{row}": value[0].numpy() for key, value in found.items()}
    np.savez(f"{folder}/{name}_answer.npz", **answers)
"""


def options(name: str) -> dict:
    return {"upsample_times": 3, "tail_threshold": 0.45} | CASES[name]


def predictor(name: str) -> CifPredictorV3:
    made = CifPredictorV3(CifPredictorV3Config.from_dict({"idim": 6, "l_order": 1, "r_order": 1, **options(name)}))
    rng = np.random.default_rng(5)
    for key, old in tree_flatten(made.parameters()):
        made.load_weights([(key, mx.array(rng.standard_normal(old.shape).astype(np.float32) * 0.4))], strict=False)
    return made


def hidden() -> mx.array:
    return mx.array(np.random.default_rng(6).standard_normal((3, max(LENGTHS), 6)).astype(np.float32) * 2)


def near_integers() -> np.ndarray:
    """Return alphas whose running sums come within rounding of whole numbers again and again, (3000, 96) float32.

    Fractions k/n, n times or more: there the loop and an exact sum often decide differently.
    """
    rng = np.random.default_rng(7)
    rows = []
    for _ in range(3000):
        n = int(rng.integers(2, 60))
        rows.append(np.full(96, rng.integers(1, n + 1) / n, np.float32) + rng.choice([0, 3e-8, -3e-8]))
    return np.array(rows).clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of FunASR's answers."""
    folder = tmp_path_factory.mktemp("cif_v3")
    np.savez(folder / "loops.npz", alphas=near_integers())
    for name in CASES:
        weights = {key: np.array(value) for key, value in tree_flatten(predictor(name).parameters())}
        np.savez(folder / f"{name}.npz", hidden=np.array(hidden()), **weights)  # pyright: ignore[reportArgumentType]
    given = repr({name: options(name) for name in CASES})
    command = [forked.python("funasr"), "-c", FUNASR, str(folder), given, repr(LENGTHS)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.reference
def test_the_loop_is_funasrs_bit_for_bit(answers: Path):
    theirs, alphas = np.load(answers / "loops_answer.npz"), near_integers()
    np.testing.assert_array_equal(integrals(alphas, PEAK), theirs["peaks"])
    np.testing.assert_array_equal(integrals(alphas, THRESHOLD), theirs["fires"])
    exact = np.floor(np.cumsum(alphas.astype(np.float64), axis=1))
    looped = np.cumsum(theirs["fires"] >= 1.0, axis=1)
    assert (exact != looped).any(axis=1).sum() > 100  # so the test can tell the loop from an exact sum


@pytest.mark.reference
@pytest.mark.parametrize("name", CASES)
def test_both_heads_are_funasrs(name: str, answers: Path):
    made, theirs = predictor(name), np.load(answers / f"{name}_answer.npz")
    lengths = mx.array(LENGTHS)
    mask = length_mask(lengths, max(LENGTHS))
    first = made(hidden(), lengths, mask)
    peaks = made.upsample(hidden(), lengths, mask, first.token_num)
    longer = int(made.tail_threshold > 0)
    for row, length in enumerate(LENGTHS):
        tokens = int(theirs[f"token_num{row}"])
        assert int(first.token_num[row]) == tokens
        sizes = {"acoustic_embeds": tokens, "alphas": length + longer, "us_alphas": 3 * length, "us_peaks": 3 * length}
        for key, size in sizes.items():
            ours = np.array(getattr(peaks if key.startswith("us") else first, key))[row, :size]
            np.testing.assert_allclose(ours, theirs[f"{key}{row}"][:size], atol=3e-6, err_msg=key)
        fires = np.array(first.fires)[row, : length + longer]
        np.testing.assert_array_equal(fires, theirs[f"fires{row}"])


def test_second_alphas_add_up_to_the_tokens_whatever_the_batch():
    made, lengths = predictor("released"), mx.array(LENGTHS)
    mask, tokens = length_mask(lengths, max(LENGTHS)), mx.array([5, 1, 3])
    garbage = mx.where(mask[:, :, None], hidden(), 1e6)
    together = made.upsample(garbage, lengths, mask, tokens)
    np.testing.assert_allclose(np.array(together.us_alphas).sum(axis=1), [5, 1, 3], rtol=1e-6)
    assert (together.us_peaks >= PEAK).sum(axis=1).tolist() == [5, 1, 3]
    for row, length in enumerate(LENGTHS):
        alone = made.upsample(hidden()[row : row + 1, :length], lengths[row : row + 1], None, tokens[row : row + 1])
        np.testing.assert_allclose(together.us_alphas[row, : 3 * length], alone.us_alphas[0], atol=1e-6)


def test_second_alphas_that_are_all_zero_stay_zero():
    """FunASR divides by their sum, and has NaN."""
    made = predictor("released")
    made.noise_threshold2 = 1.0
    peaks = made.upsample(hidden(), mx.array(LENGTHS), None, mx.array([5, 1, 3]))
    assert (np.array(peaks.us_alphas) == 0).all()
    assert not (peaks.us_peaks >= PEAK).any()


@pytest.mark.parametrize(("frames", "tokens", "fired", "counted"), [(12, 1, 0, 1), (97, 1, 1, 0), (20, 3, 2, 3)])
def test_fires_are_the_loops_and_the_count_is_the_sums(frames: int, tokens: int, fired: int, counted: int):
    """`tokens` spread evenly over `frames`: in float32 the loop and the sum land on either side of a whole token."""
    made, alphas = predictor("released"), np.full((1, frames), tokens / frames, np.float32)
    given = np.concatenate([np.zeros((1, 1), np.float32), alphas], axis=1)  # one silent frame more changes nothing
    for firing in (made.fire(mx.array(alphas)), made.fire_on_device(mx.array(given))):
        assert (firing.fired[0, -1].item(), firing.token_num.item()) == (fired, counted)
    embeds = np.array(made.embed(hidden()[:1, :1] + mx.zeros((1, frames, 1)), made.fire(mx.array(alphas)), counted))
    assert embeds.shape == (1, counted, 6)
    assert (embeds[0, fired:] == 0).all()  # counted and never fired: as FunASR pads
    assert (np.abs(embeds[0, :fired]) > 0).any(axis=-1).all()


def test_a_transposed_convolution_by_definition():
    rng = np.random.default_rng(8)
    weight, bias, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 4), (4,), (2, 5, 4)))
    made = UpsampleConv(4, 3)
    made.weight, made.bias = mx.array(weight), mx.array(bias)
    out = np.array(made(mx.array(x)))
    for frame in range(5):
        for tap in range(3):
            np.testing.assert_allclose(out[:, 3 * frame + tap], x[:, frame] @ weight[:, tap].T + bias, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"upsample_times": 5}, "upsample_times = 5"),
        ({"upsample_type": "cnn_attn"}, "cnn_attn"),
        ({"smooth_factor2": 0.1, "noise_threshold2": 0.1}, "noise_threshold2"),
        ({"threshold": 0.9}, "threshold"),
    ],
)
def test_what_funasr_takes_and_cannot_run_is_refused_by_name(given: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        CifPredictorV3Config.from_dict({"idim": 6, "l_order": 1, "r_order": 1, "upsample_times": 3, **given}).check()
