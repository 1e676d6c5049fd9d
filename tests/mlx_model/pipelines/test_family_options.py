"""Options of a model's family: what is taken, what is refused and in which words. Oracle: by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mlx_funasr
import mlx_model
from mlx_model.errors import UsageError
from mlx_model.models import fsmn_vad_streaming
from mlx_model.pipelines.options import loose_options, options_from, options_given
from tests.conftest import speech_like
from tests.mlx_model.asr_models import write_recogniser

LANGUAGES = ("auto", "zh", "en")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    language: str = "auto"
    use_itn: bool = False
    beam_size: int = 1
    weight: float | None = None

    def __post_init__(self):
        if self.language not in LANGUAGES:
            raise UsageError(f"language {self.language!r}: expected one of {', '.join(LANGUAGES)}")


MODEL: Any = SimpleNamespace(Options=Options, __module__="mlx_model.models.made_up")
LISTED = "language (auto), use_itn (off), beam_size (1), weight (None)"


def test_values_reach_the_family_and_none_is_not_given():
    assert options_from(MODEL, {}) == Options()
    assert options_from(MODEL, {"language": "zh", "use_itn": None, "weight": 1}) == Options(language="zh", weight=1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lang": "zh"}, f"lang: a made_up has no such option; it has {LISTED}"),
        ({"language": "tlh"}, "language 'tlh': expected one of auto, zh, en"),
        ({"language": 3}, "language = 3: expected text"),
        ({"use_itn": "yes"}, "use_itn = 'yes': expected on or off"),
        ({"use_itn": 1}, "use_itn = 1: expected on or off"),
        ({"beam_size": True}, "beam_size = True: expected a whole number"),
        ({"beam_size": 1.5}, "beam_size = 1.5: expected a whole number"),
        ({"weight": "0.5"}, "weight = '0.5': expected a number"),
    ],
)
def test_what_is_refused_is_named(given: dict[str, Any], says: str):
    with pytest.raises(UsageError) as caught:
        options_from(MODEL, given)
    assert str(caught.value) == says


def test_a_command_line_gives_them():
    texts = ["beam_size=4", "weight=0.25", "use_itn=on"]
    assert options_given(MODEL, texts, language="en", as_funasr=None) == {
        "beam_size": 4, "weight": 0.25, "use_itn": True, "language": "en",
    }  # fmt: skip
    assert options_given(MODEL, None, use_itn=False) == {"use_itn": False}


@pytest.mark.parametrize(
    ("texts", "flags", "says"),
    [
        ([], {"as_funasr": True}, f"--as-funasr: a made_up has no such option; it has {LISTED}"),
        (["nbest=2"], {}, f"--option nbest: a made_up has no such option; it has {LISTED}"),
        (["nbest"], {}, f"--option nbest: expected NAME=VALUE; a made_up has {LISTED}"),
        (["beam_size=two"], {}, "--option beam_size=two: expected a whole number"),
        (["use_itn=maybe"], {}, "--option use_itn=maybe: expected on or off"),
        (["weight=1", "weight=2"], {}, "--option weight is given twice"),
        (["language=zh"], {"language": "en"}, "--option language and --language say the same: leave one of them out"),
        ([], {"language": "tlh"}, "language 'tlh': expected one of auto, zh, en"),
    ],
)
def test_a_command_line_is_told_in_its_own_words(texts: list[str], flags: dict[str, Any], says: str):
    with pytest.raises(UsageError) as caught:
        options_given(MODEL, texts, **flags)
    assert str(caught.value) == says


def test_a_switch_turned_off_is_named_as_it_was_written():
    with pytest.raises(UsageError, match=r"^--no-itn: a fsmn_vad_streaming has no such option; it has max_end_silence"):
        options_given(fsmn_vad_streaming.Model, [], use_itn=False)


def test_another_programs_options_are_read_loosely():
    found = loose_options(["language=zh", "use_itn=off", "beam=3"], ban_emo_unk=True, hotword=None)
    assert found == {"language": "zh", "use_itn": False, "beam": 3, "ban_emo_unk": True}
    with pytest.raises(UsageError, match="--option x: expected NAME=VALUE"):
        loose_options(["x"])


def test_python_and_the_command_refuse_what_a_paraformer_does_not_have(tmp_path: Path):
    directory = write_recogniser(tmp_path / "asr")
    with pytest.raises(UsageError, match=r"^language: a paraformer has no such option; it has none$"):
        mlx_model.load(directory).transcribe(speech_like(1.0), language="zh")
    for words, said in ((["--language", "zh"], "--language"), (["--option", "a=b"], "--option a")):
        command = ["transcribe", str(directory), str(tmp_path / "absent.wav"), *words]
        with pytest.raises(UsageError, match=f"^{said}: a paraformer has no such option; it has none$"):
            mlx_funasr.app(command, standalone_mode=False)


def test_options_reach_every_step_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = mlx_model.load(write_recogniser(tmp_path / "asr"))
    seen: list[Any] = []
    cls = type(model)
    for name, place in (("begin", 2), ("hypotheses", 1)):
        step = getattr(cls, name)

        def spy(self: Any, *given: Any, step: Any = step, place: int = place, **named: Any) -> Any:
            seen.append(given[place])
            return step(self, *given, **named)

        monkeypatch.setattr(cls, name, spy)
    model.transcribe([speech_like(1.0), np.zeros(8000, np.float32)], batch_size=1)
    assert len(seen) == 4
    assert all(options is seen[0] for options in seen)
    assert isinstance(seen[0], model.Options)
