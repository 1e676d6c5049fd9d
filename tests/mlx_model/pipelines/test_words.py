"""Words with times and confidences, end to end with random weights. Oracles: float64 softmax of `logits_of`; hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.errors import UsageError
from mlx_model.models.paraformer import Model
from mlx_model.pipelines.long_audio import transcribe_long
from mlx_model.pipelines.words import with_words
from mlx_model.text.results import Transcript
from tests.conftest import speech_like
from tests.mlx_model.asr_models import write_recogniser
from tests.mlx_model.vad_models import write_vad

WAVEFORMS = [speech_like(seconds, seed) for seed, seconds in enumerate((2.0, 0.5, 3.3))]
ASKED = {"confidences": None, "entropies": None, "confidence": None, "alternatives": None, "flags": []}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return mlx_model.load(write_recogniser(tmp_path_factory.mktemp("asr") / "model"))


def posteriors(model: Model, waveform: np.ndarray) -> np.ndarray:
    """Return one recording's posteriors, (U, V) float64."""
    (logits,) = model.logits_of(model(*model.features([waveform])))
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_confidences_are_the_posteriors_of_the_tokens_in_any_batch(model: Model, batch_size: int):
    """1e-5: the logits themselves stray by float32's rounding between batches of other sizes."""
    found = model.transcribe(WAVEFORMS, confidence=True, nbest=4, batch_size=batch_size)
    for one, waveform in zip(found, WAVEFORMS, strict=True):
        p = posteriors(model, waveform)
        kept = ~np.isin(p.argmax(-1), (0, 1, 2))
        assert one.token_ids == p.argmax(-1)[kept].tolist()
        assert one.confidences == pytest.approx(p.max(-1)[kept].tolist(), rel=1e-5)
        assert one.entropies == pytest.approx((-p * np.log(p)).sum(-1)[kept].tolist(), rel=1e-4)
        assert one.confidence == (pytest.approx(p.max(-1)[kept].mean(), rel=1e-5) if kept.any() else None)
        others = one.alternatives
        assert others
        assert (others[0].token_ids, others[0].text) == (one.token_ids, one.text)
        assert others[0].score == pytest.approx(np.log(p.max(-1)).sum(), rel=1e-4)
        assert len({tuple(other.token_ids) for other in others}) == len(others)
        assert [other.score for other in others] == sorted((other.score for other in others), reverse=True)


def test_nothing_is_said_of_it_unasked_and_nothing_else_changes(model: Model):
    plain = model.transcribe(WAVEFORMS)
    asked = model.transcribe(WAVEFORMS, confidence=True)
    assert all(one.confidences is not None and one.alternatives is None for one in asked)
    assert [replace(one, **ASKED) for one in asked] == plain
    with pytest.raises(UsageError, match="101 alternatives: expected 0 to 100"):
        model.transcribe([], nbest=101)


def test_words_without_a_vad(model: Model):
    """Their characters are the text, their confidences the tokens'; they stay within the recording."""
    for heard in model.transcribe(WAVEFORMS, times=True, confidence=True):
        words = with_words(heard, model.tokenizer).words
        assert words is not None
        assert "".join(word.text for word in words) == heard.text.replace(" ", "")
        if len(words) == len(heard.token_ids):
            assert [word.confidence for word in words] == pytest.approx(heard.confidences)
        edges = [edge for word in words for edge in (word.start_ms, word.end_ms)]
        assert edges == sorted(edges)
        assert all(0 <= edge <= heard.duration_s * 1000 + 1 for edge in edges)


def test_words_that_are_known_stay_and_those_that_cannot_be_known_are_not_made_up(model: Model):
    heard = Transcript(path=None, text="一", token_ids=[3], duration_s=1.0)
    assert with_words(heard, model.tokenizer).words is None
    assert with_words(replace(heard, text="", token_ids=[]), model.tokenizer).words == []
    known = replace(heard, words=[])
    assert with_words(known, model.tokenizer) is known


def test_segments_are_put_together(model: Model, tmp_path: Path):
    """A recording in segments has the confidences of all of them, their mean, and alternatives by segment."""
    convert.convert(write_vad(tmp_path / "source"), tmp_path / "vad")
    detector = mlx_model.load(tmp_path / "vad")
    (found,) = transcribe_long(model, detector, np.concatenate(WAVEFORMS), times=True, confidence=True, nbest=2)
    assert found.segments
    joined = [value for part in found.segments for value in part.confidences or ()]
    assert found.confidences == joined
    assert found.confidence == pytest.approx(np.mean(joined))
    assert found.alternatives is None
    assert all(part.alternatives and part.alternatives[0].text == part.text for part in found.segments)
    assert found.words == [word for part in found.segments for word in part.words or ()]
