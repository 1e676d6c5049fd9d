"""am.mvn. Oracles: FunASR's load_cmvn (its algorithm restated, and itself where installed), and values by hand."""

import importlib.util
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import mvn_text

from convert.cmvn import read_cmvn
from mlx_model.errors import AssetError
from tests import forked

SHIFT, SCALE = ["-1.5", "-2", "3e-2"], ["0.1", "1E+1", ".25"]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "am.mvn"
    path.write_text(text, "utf-8")
    return path


def funasr_fields(path: Path) -> np.ndarray:
    """The algorithm of funasr/frontends/wav_frontend.py::load_cmvn: fields by position, the line after the tag."""
    lines = path.read_text("utf-8").splitlines()
    found = {}
    for tag, after in itertools.pairwise(lines):
        if tag.split() and tag.split()[0] in ("<AddShift>", "<Rescale>"):
            found[tag.split()[0]] = after.split()[3:-1]
    return np.array([np.array(found["<AddShift>"]).astype(np.float32), np.array(found["<Rescale>"]).astype(np.float32)])


def test_plain_file(tmp_path):
    cmvn = read_cmvn(write(tmp_path, mvn_text(SHIFT, SCALE)), 3)
    assert cmvn.shift.tolist() == np.float32([-1.5, -2, 0.03]).tolist()
    assert cmvn.scale.tolist() == np.float32([0.1, 10, 0.25]).tolist()
    assert cmvn.shift.dtype == cmvn.scale.dtype == np.float32


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " "),
        lambda text: text.replace(" -2 ", "\n-2\n"),  # a vector over several lines, where FunASR raises
        lambda text: text.replace("[ ", "[").replace(" ]", "]"),
        lambda text: text.replace("<LearnRateCoef> 0 ", ""),
        lambda text: text.replace("<LearnRateCoef> 0", "<LearnRateCoef> 1.0e-3"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("<Splice> 3 3\n[ 0 ]\n", ""),
        lambda text: text.replace("\n<Rescale>", "\n\n\n<Rescale>"),  # blank lines, where FunASR raises IndexError
        lambda text: text.replace("<Splice> 3 3\n[ 0 ]", "<Splice> 3 3 [ 0 ]"),
    ],
)
def test_the_same_numbers_however_they_are_laid_out(tmp_path, change):
    cmvn = read_cmvn(write(tmp_path, change(mvn_text(SHIFT, SCALE))), 3)
    assert (cmvn.shift.tolist(), cmvn.scale.tolist()) == (
        np.float32([-1.5, -2, 0.03]).tolist(), np.float32([0.1, 10, 0.25]).tolist(),
    )  # fmt: skip


def test_rescale_before_addshift(tmp_path):
    text = "<Nnet> <Rescale> 1 1 [ 4 ] <AddShift> 1 1 [ -3 ] </Nnet>"
    cmvn = read_cmvn(write(tmp_path, text), 1)
    assert (cmvn.shift.tolist(), cmvn.scale.tolist()) == ([-3], [4])


def test_tiled_values_serve_a_front_end_of_single_frames(tmp_path):
    cmvn = read_cmvn(write(tmp_path, mvn_text(["1", "2"] * 3, ["3", "4"] * 3)), 2)
    assert (cmvn.shift.tolist(), cmvn.scale.tolist()) == ([1, 2], [3, 4])


BAD = {
    "empty": ("", "empty"),
    "not kaldi": ("560 values", "<Nnet>"),
    "json": ('{"a": 1}', "<Nnet>"),
    "truncated": (mvn_text(SHIFT, SCALE)[:-20], "truncated"),
    "no end": (mvn_text(SHIFT, SCALE).replace("</Nnet>", ""), "before </Nnet>"),
    "no shift": (mvn_text(SHIFT, SCALE).replace("<AddShift>", "<Splice>"), "<Splice>"),
    "no rescale": ("<Nnet> <AddShift> 3 3 [ 1 2 3 ] </Nnet>", "no <Rescale>"),
    "twice": ("<Nnet> <AddShift> 3 3 [ 1 2 3 ] <AddShift> 3 3 [ 1 2 3 ] </Nnet>", "two <AddShift>"),
    "count": (mvn_text(SHIFT, SCALE).replace(" -2 ", " "), "announces 3 values and has 2"),
    "width": (mvn_text(SHIFT + SHIFT, SCALE + SCALE).replace("-2", "-3", 1), "has 6 values"),
    "single frames": (mvn_text(["1"], ["1"]), "values of single frames"),
    "not a number": (mvn_text(["-1.5", "x7", "1"], SCALE), "'x7'"),
    "nan": (mvn_text(["-1.5", "nan", "1"], SCALE), "value 1 is 'nan'"),
    "overflow": (mvn_text(["-1.5", "1e39", "1"], SCALE), "value 1 is '1e39'"),
    "underscore": (mvn_text(["-1.5", "1_0", "1"], SCALE), "'1_0'"),
    "splice": (mvn_text(SHIFT, SCALE).replace("[ 0 ]", "[ -1 0 1 ]"), "<Splice> of frames -1 0 1"),
    "in and out": (mvn_text(SHIFT, SCALE).replace("<AddShift> 3 3", "<AddShift> 3 6"), "changes the width"),
    "no width": (mvn_text(SHIFT, SCALE).replace("<AddShift> 3 3", "<AddShift>"), "expected its width"),
    "unclosed": (mvn_text(SHIFT, SCALE).replace("3e-2 ]", "3e-2"), "no closing"),
    "after": (mvn_text(SHIFT, SCALE) + " <Nnet>", "after </Nnet>"),
    "other component": (mvn_text(SHIFT, SCALE).replace("<Splice>", "<Affine>"), "'<Affine>'"),
    "rate": (mvn_text(SHIFT, SCALE).replace("Coef> 0", "Coef> [", 1), "expected a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_file_is_refused_by_name_with_the_reason(tmp_path, case):
    text, reason = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(AssetError) as caught:
        read_cmvn(path, 3)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_is_refused(tmp_path):
    path = tmp_path / "am.mvn"
    path.write_bytes(b"\x00B<Nnet>\xff\xfe")
    with pytest.raises(AssetError, match="not UTF-8"):
        read_cmvn(path, 3)


@given(st.lists(st.floats(-1e30, 1e30, width=64), min_size=1, max_size=8))
def test_numbers_are_rounded_as_funasr_rounds_them(tmp_path_factory, values):
    texts = [repr(value) for value in values]
    path = write(tmp_path_factory.mktemp("mvn"), mvn_text(texts, texts))
    cmvn, expected = read_cmvn(path, len(texts)), funasr_fields(path)
    np.testing.assert_array_equal(np.stack([cmvn.shift, cmvn.scale]).view(np.uint32), expected.view(np.uint32))


FILES = {
    "checkpoints/paraformer_real_small/am.mvn": 560,
    "sidecars/paraformer_large_zh/am.mvn": 560,
    "sidecars/sense_voice_small/am.mvn": 560,
    "checkpoints/fsmn_vad/am.mvn": 400,
    "checkpoints/fsmn_kws/am.mvn": 400,
}


@pytest.mark.shared
@pytest.mark.parametrize("name", FILES)
def test_released_files_field_by_field(shared, name):
    cmvn, expected = read_cmvn(shared / name, FILES[name]), funasr_fields(shared / name)
    np.testing.assert_array_equal(np.stack([cmvn.shift, cmvn.scale]).view(np.uint32), expected.view(np.uint32))


@pytest.mark.shared
def test_eighty_values_are_those_of_the_vad_and_of_every_seventh_of_the_rest(shared):
    wide = read_cmvn(shared / "sidecars/paraformer_large_zh/am.mvn", 80)
    vad = read_cmvn(shared / "checkpoints/fsmn_vad/am.mvn", 80)
    np.testing.assert_array_equal(wide.shift, vad.shift)


@pytest.mark.shared
@pytest.mark.reference
def test_released_file_is_bit_identical_to_funasrs_own_loader(shared, tmp_path):
    if importlib.util.find_spec("funasr") is None:
        pytest.skip("funasr is not installed")
    path, out = shared / "sidecars/paraformer_large_zh/am.mvn", tmp_path / "cmvn.npy"
    code = (
        "import sys, numpy; from funasr.frontends.wav_frontend import load_cmvn; "
        "numpy.save(sys.argv[2], load_cmvn(sys.argv[1]).numpy())"
    )
    command = [forked.python("funasr"), "-c", code, str(path), str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    cmvn = read_cmvn(path, 560)
    np.testing.assert_array_equal(np.stack([cmvn.shift, cmvn.scale]).view(np.uint32), np.load(out).view(np.uint32))
