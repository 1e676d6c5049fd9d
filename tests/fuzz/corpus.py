"""Valid inputs of every command, made once: the bundled model, conversions of it and of an FSMN-VAD, reports, lists.

Punctuation and speaker models are random ones.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from parity.demo import MODEL, SPEECH, TRACE
from tests.fuzz.runner import Runner
from tests.mlx_model.pipeline_models import write_embedder, write_punctuator
from tests.mlx_model.vad_models import write_vad


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A folder of valid inputs; each attribute is a path in it."""

    folder: Path
    source: Path
    vad_source: Path
    model: Path
    vad: Path
    wav: Path
    audio: Path
    trace: Path
    data: Path
    run: Path
    parity: Path
    ref: Path
    hyp: Path
    listing: Path
    turns: Path
    marks: Path
    voices: Path


def make(folder: Path, runner: Runner) -> Corpus:
    """Write the corpus into `folder`, with the command line itself."""
    data = folder / "data"
    speech = sorted((SPEECH / "wav/test/D0001").glob("*.wav"))[:2]
    (data / "wav/test/D0001").mkdir(parents=True)
    for path in speech:
        shutil.copy(path, data / "wav/test/D0001")
    shutil.copytree(SPEECH / "transcript", data / "transcript")
    shutil.copytree(MODEL, folder / "source")
    shutil.copytree(TRACE, folder / "trace")
    write_vad(folder / "vad_source", "plain")
    shutil.copy(speech[0], folder / "speech.wav")
    texts = {path.stem: "今天" for path in speech}
    for name in ("ref", "hyp"):
        (folder / f"{name}.txt").write_text("".join(f"{key} {text}\n" for key, text in texts.items()), "utf-8")
    (folder / "turns.rttm").write_text("SPEAKER a 1 0.0 1.5 <NA> <NA> 1 <NA> <NA>\n", "utf-8")
    (folder / "list.jsonl").write_text(
        "".join(f'{{"key": "{path.stem}", "source": "{path}", "target": "今天"}}\n' for path in speech), "utf-8"
    )
    for words in (
        ["convert", "source", "model"],
        ["convert", "vad_source", "vad"],
        ["cer", "model", "data", "--out", "run"],
        ["parity", "check", "model", "trace", "--out", "parity", "--no-invariance"],
    ):
        done = runner.run(words, folder, limit_s=600.0)  # MLX compiles its kernels
        assert done.code in (0, 1), (words, done.err)
    return Corpus(
        folder=folder, source=folder / "source", vad_source=folder / "vad_source", model=folder / "model",
        vad=folder / "vad", wav=folder / "speech.wav", audio=data / "wav/test/D0001", trace=folder / "trace",
        data=data, run=folder / "run", parity=folder / "parity", ref=folder / "ref.txt", hyp=folder / "hyp.txt",
        listing=folder / "list.jsonl", turns=folder / "turns.rttm",
        marks=write_punctuator(folder / "marks"), voices=write_embedder(folder / "voices"),
    )  # fmt: skip
