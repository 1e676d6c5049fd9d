"""The whole pipeline with stand-ins for its models: order, speakers, resuming, refusals. Oracle: by hand.

That real models give FunASR's results: the last test, and benchmarks/pipeline_identity.py on many meetings.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

import convert
import mlx_model
from mlx_model.errors import UsageError
from mlx_model.files.journal import Journal
from mlx_model.loading import pipeline
from mlx_model.pipelines import auto
from mlx_model.pipelines.auto import Pipeline
from mlx_model.pipelines.resuming import SCHEMA
from mlx_model.text.formats import FORMATS, to_document
from mlx_model.text.results import Punctuated
from parity.demo import MODEL, SPEECH
from tests import forked
from tests.conftest import ROOT
from tests.mlx_model.vad_models import write_vad

CHECKPOINTS = ROOT.parent / "shared" / "checkpoints"
MARKS = ["<unk>", "_", "，", "。", "？", "、"]


class Marks:
    """A punctuator that ends every text with a full stop, and puts a comma behind its second word."""

    mark_names = MARKS

    def punctuate(self, texts: list[str], options: Any = None, *, as_funasr: bool = False) -> list[Punctuated]:
        found = []
        for text in texts:
            words = [character for character in text if not character.isspace()]
            ids = [2 if n == 1 and len(words) > 2 else 3 if n + 1 == len(words) else 1 for n in range(len(words))]
            said = "".join(word + MARKS[mark].replace("_", "") for word, mark in zip(words, ids, strict=True))
            found.append(Punctuated(text=said, words=words, punctuation=ids))
        return found


class Voice:
    """An embedder by loudness: two directions."""

    config = SimpleNamespace(frontend=SimpleNamespace(fs=16000))
    calls: ClassVar[list[int]] = []

    def embed(self, waveforms: list[np.ndarray]) -> np.ndarray:
        self.calls.append(len(waveforms))
        loud = [float(np.abs(waveform).mean()) > 0.01 for waveform in waveforms]
        return np.array([[1.0, 0.1] if one else [0.1, 1.0] for one in loud], np.float32)


MARKER: Any = Marks()  # roles in what the pipeline asks of them here
VOICE: Any = Voice()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """The demo recogniser, a random detector, and a folder of both."""
    folder = tmp_path_factory.mktemp("auto")
    convert.convert(MODEL, folder / "asr")
    convert.convert(write_vad(folder / "source"), folder / "vad")
    return mlx_model.load(folder / "asr"), mlx_model.load(folder / "vad"), folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four demo utterances, the last two of them quiet: a second speaker, to Voice."""
    files = sorted(SPEECH.rglob("*.wav"))[:4]
    loud = zip(files, (1, 1, 0.05, 0.05), strict=True)
    parts = [soundfile.read(file, dtype="float32")[0] * scale for file, scale in loud]
    path = tmp_path_factory.mktemp("recording") / "talk.wav"
    silence = np.zeros(12000, np.float32)
    soundfile.write(path, np.concatenate([piece for part in parts for piece in (part, silence)]), 16000)
    return path


def test_every_word_is_said_once_by_one_of_two_speakers(models, recording: Path):
    recogniser, detector, _ = models
    pipe = Pipeline(recogniser, detector, MARKER, VOICE)
    (found,) = pipe.transcribe(recording, confidence=True, num_speakers=2)
    (plain,) = Pipeline(recogniser, detector).transcribe(recording, times=True)
    assert found.text == "".join(one.text for one in found.sentences or []).strip()
    assert found.raw_text == plain.text.replace(" ", "")
    assert [word.text for word in found.words or []] == [word.text for word in plain.words or []]
    assert {one.speaker for one in found.sentences or []} == {0, 1}
    assert all(word.speaker is not None for word in found.words or [])
    assert "".join(str(one.text) for one in found.sentence_info or []) == found.text
    row = to_document([found])["results"][0]
    assert (row["key"], row["raw_text"]) == ("talk", found.raw_text)
    assert [one["spk"] for one in row["sentence_info"]] == [one.spk for one in found.sentence_info or []]
    assert len(FORMATS["rttm"]([found]).splitlines()) == len(found.turns or [])


def test_a_run_goes_on_with_what_it_has_heard(models, recording: Path, tmp_path: Path):
    recogniser, detector, _ = models
    pipe = Pipeline(recogniser, detector, MARKER, VOICE)
    with Journal(tmp_path, {"run": 1}, SCHEMA) as journal:
        first = pipe.transcribe(recording, journal=journal, num_speakers=2)
        segments = len(journal) - 1
    assert segments == len(first[0].segments or []) > 1
    path = tmp_path / "journal.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), "utf-8")  # killed before the last segment
    Voice.calls.clear()
    with Journal(tmp_path, {"run": 1}, SCHEMA) as journal:
        again = pipe.transcribe(recording, journal=journal, num_speakers=2)
    assert again == first
    assert len(Voice.calls) == 1  # of one segment's windows
    Voice.calls.clear()
    with Journal(tmp_path, {"run": 1}, SCHEMA) as journal:
        assert pipe.transcribe(recording, journal=journal, num_speakers=2) == first
    assert Voice.calls == []  # nothing is heard any more


def test_nothing_is_said_in_silence(models, tmp_path: Path):
    recogniser, detector, _ = models
    quiet, short = np.zeros(32000, np.float32), np.zeros(320, np.float32)
    for as_funasr in (False, True):
        found = Pipeline(recogniser, detector, MARKER, VOICE).transcribe([quiet, short], as_funasr=as_funasr)
        assert [(one.text, one.segments) for one in found] == [("", []), ("", [])]
    (row,) = Pipeline(recogniser, detector, MARKER).generate([quiet], as_funasr=True)
    assert row["timestamp"] == []


def test_without_a_detector_marks_are_put_in_all_the_same(models, recording: Path):
    recogniser, _, _ = models
    (found,) = Pipeline(recogniser, None, MARKER).transcribe(recording)
    assert found.text.endswith("。")
    assert found.text == "".join(one.text for one in found.sentences or [])


def test_what_makes_no_sense_is_refused_in_one_line(models):
    recogniser, detector, folder = models
    with pytest.raises(UsageError, match="expected a VAD model as well"):
        Pipeline(recogniser, None, None, VOICE)
    other: Any = SimpleNamespace(config=SimpleNamespace(frontend=SimpleNamespace(fs=8000)))
    with pytest.raises(UsageError, match="the recogniser 16000 Hz, the VAD 16000 Hz, the speaker model 8000 Hz"):
        Pipeline(recogniser, detector, None, other)
    pipe = Pipeline(recogniser, detector, MARKER)
    with pytest.raises(UsageError, match="a number of speakers means nothing"):
        pipe.transcribe([], num_speakers=2)
    with pytest.raises(UsageError, match="0 speakers: expected at least 1"):
        Pipeline(recogniser, detector, None, VOICE).transcribe([], num_speakers=0)
    with pytest.raises(UsageError, match="expected default, punc_segment, vad_segment"):
        pipe.transcribe([], spk_mode="words")
    with pytest.raises(UsageError, match=r"^punc: .*a model that puts punctuation into texts; try mlx-funasr vad"):
        pipeline(recogniser, vad=detector, punc=folder / "vad")
    with pytest.raises(UsageError, match=r"^speakers: .*expected a model that tells speakers apart"):
        pipeline(recogniser, vad=detector, speakers=folder / "asr")


def test_funasrs_own_names(models, recording: Path, monkeypatch):
    recogniser, detector, _ = models
    seen: dict[str, Any] = {}
    pipe = Pipeline(recogniser, detector, MARKER, VOICE)
    monkeypatch.setattr(Pipeline, "transcribe", lambda self, audio, **asked: seen.update(asked) or [])
    names = {"batch_size_s": 30, "batch_size_threshold_s": 60, "preset_spk_num": 2}
    pipe.generate(recording, **names, merge_vad=True, merge_length_s=9)
    assert seen == {"batch_seconds": 30, "num_speakers": 2, "merge_s": 9, "sentence_timestamp": False}
    seen.clear()
    pipe.generate(recording, merge_vad=True, merge_length_s=9, as_funasr=True)
    assert seen["merge_s"] == auto.MERGED_S  # 1.4.16 does not see it there


FUNASR = """
import json, sys, torch
from funasr import AutoModel
torch.set_num_threads(1)
root, mode, file = sys.argv[1:]
names = {"model": "bicif_real_small", "vad_model": "fsmn_vad", "punc_model": "ct_punc_real_small",
         "spk_model": "campplus_real_small"}
auto = AutoModel(**{k: f"{root}/{v}" for k, v in names.items()}, spk_mode=mode, disable_update=True,
                 disable_pbar=True, log_level="ERROR", device="cpu", ncpu=1)
for kwargs in (auto.kwargs, auto.vad_kwargs):
    kwargs["frontend"].dither = 0.0
print(json.dumps(auto.generate(input=file, return_raw_text=True)))
"""


@pytest.mark.shared
@pytest.mark.parametrize("mode", ["punc_segment", "vad_segment"])
def test_as_funasr_every_field_is_automodels(mode: str, tmp_path: Path):
    if not CHECKPOINTS.is_dir():
        pytest.skip("../shared is not here")
    speech = ROOT.parent / "shared" / "data" / "speech_misc" / "zh"
    files = [speech / name for name in ("BAC009S0724W0121.wav", "BAC009S0764W0121.wav")]
    path = tmp_path / "two.wav"
    parts = [soundfile.read(file, dtype="float32")[0] for file in files]
    soundfile.write(path, np.concatenate([parts[0], np.zeros(16000, np.float32), parts[1]]), 16000)
    names = {"model": "bicif_real_small", "vad": "fsmn_vad", "punc": "ct_punc_real_small"}
    names |= {"speakers": "campplus_real_small"}
    for role, name in names.items():
        convert.convert(CHECKPOINTS / name, tmp_path / role)
    command = [forked.python("funasr"), "-c", FUNASR, str(CHECKPOINTS), mode, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (theirs,) = json.loads(done.stdout.splitlines()[-1])
    pipe = pipeline(tmp_path / "model", **{role: tmp_path / role for role in ("vad", "punc", "speakers")})
    (ours,) = pipe.generate(path, as_funasr=True, return_raw_text=True, spk_mode=mode)
    assert ours == theirs
    assert len(theirs["sentence_info"]) > 1
