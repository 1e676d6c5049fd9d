"""`idim: ${encoder_conf.output_size}` "must be of type int", where FunASR resolves it."""

from pathlib import Path

import pytest

import convert
from mlx_model.errors import ConfigError
from parity.demo import MODEL
from tests.model_folders import change_config, trainer_folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return trainer_folder(tmp_path / "source", "model.pt")


def test_the_model_is_the_same_as_with_the_values_written_out(source: Path):
    change_config(
        source, predictor_conf={"idim": "${encoder_conf.output_size}"},
        decoder_conf={"linear_units": "${..encoder_conf.linear_units}", "num_blocks": "${.att_layer_num}"},
        frontend_conf={"dither": "${oc.select:no.such.key,0.0}"},
    )  # fmt: skip
    assert convert.inspect(source).config == convert.inspect(MODEL).config


def test_model_path_is_the_directory_as_in_funasr(source: Path):
    change_config(source, frontend_conf={"cmvn_file": "${model_path}/am.mvn"})
    assert "am.mvn" in convert.inspect(source).sha256


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("${oc.env:DITHER,0.0}", "frontend_conf.dither: ${oc.env:...} reads an environment variable"),
        ("${no.such.key}", "names 'no.such.key', which is not there"),
        ("${.dither}", "refers to itself"),
        ("${mine:1}", "no resolver is called 'mine'"),
        ("${", "no interpolation that OmegaConf reads"),
    ],
)
def test_what_is_not_accepted_is_one_line_with_its_key(source: Path, value: str, says: str):
    change_config(source, frontend_conf={"dither": value})
    with pytest.raises(ConfigError) as caught:
        convert.inspect(source)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
