"""Roles: who fulfils which, and what is said of a model of another one. Oracle: the lists, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mlx_model
from mlx_model import roles
from mlx_model.errors import ConfigError, UsageError
from mlx_model.families import FAMILIES
from mlx_model.loading import load_as, model_class
from mlx_model.models import (
    campplus,
    ct_transformer,
    ct_transformer_streaming,
    eres2net_v2,
    fsmn_vad_streaming,
    monotonic_aligner,
    paraformer,
    paraformer_streaming,
)
from mlx_model.roles import (
    Aligner,
    Detector,
    Embedder,
    Punctuator,
    Recognizer,
    StreamingPunctuator,
    StreamingRecognizer,
    fulfils,
)
from tests.mlx_model.asr_models import write_recogniser

OF: dict[type, set[type]] = {
    paraformer.Model: {Recognizer},
    fsmn_vad_streaming.Model: {Detector},
    monotonic_aligner.Model: {Aligner},
    ct_transformer.Model: {Punctuator},
    ct_transformer_streaming.Model: {Punctuator, StreamingPunctuator},
    campplus.Model: {Embedder},
    eres2net_v2.Model: {Embedder},
    paraformer_streaming.Model: {Recognizer, StreamingRecognizer},
}


@pytest.mark.parametrize("model", OF)
@pytest.mark.parametrize("role", roles.ROLES)
def test_who_fulfils_what(model: type, role: type):
    assert fulfils(model, role) == (role in OF[model])
    with_methods = model_class(model.__module__.rpartition(".")[2])  # `stream` of the one role is none of the other's
    assert fulfils(with_methods, role) == (role in OF[model])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_role_options_and_the_method_of_its_role(family: str):
    model = model_class(family)
    fitting = [role for role in roles.ROLES if fulfils(model, role)]
    assert fitting
    assert model.Options() == model.Options()
    assert model is model_class(family)  # one class a family, and the family's own
    assert (model.__module__, model.__name__) == (f"mlx_model.models.{family}", "Model")
    method = {Recognizer: "transcribe", Detector: "detect", Aligner: "align", StreamingRecognizer: "stream",
              Embedder: "embeddings", Punctuator: "punctuate", StreamingPunctuator: "punctuate_next"}  # fmt: skip
    assert all(callable(getattr(model, method[role])) for role in fitting)


def test_one_method_less_is_another_role():
    without: Any = type("Model", (), {name: (lambda self: None) for name in ("features_of", "begin", "best")})
    assert not fulfils(without, Recognizer)


def test_the_error_names_the_command_that_fits(tmp_path: Path):
    directory = write_recogniser(tmp_path / "asr")
    assert load_as(directory, Recognizer).config.model_type == "paraformer"
    with pytest.raises(UsageError) as caught:
        load_as(directory, Detector)
    assert str(caught.value) == (
        f"{directory} is a paraformer, expected a model that finds speech; try mlx-funasr transcribe"
    )


def test_the_role_is_looked_at_before_the_weights(tmp_path: Path):
    directory = write_recogniser(tmp_path / "asr")
    (directory / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="expected a model that finds speech"):
        load_as(directory, Detector)
    (directory / "config.json").write_text('{"model_type": "whisper"}', "utf-8")
    with pytest.raises(ConfigError, match="'whisper' is not one of"):
        load_as(directory, Recognizer)


def test_a_loaded_model_is_the_familys(tmp_path: Path):
    model = mlx_model.load(write_recogniser(tmp_path / "asr"))
    assert isinstance(model, paraformer.Model)
    assert isinstance(model.Options(), paraformer.ParaformerOptions)
