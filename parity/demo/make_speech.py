"""Makes the demo's speech: sentences of grammar.py, spoken by espeak-ng, disturbed, 16 kHz mono 16-bit.

    python make_speech.py bundle speech     the 40 bundled utterances, as an AISHELL-style tree
    python make_speech.py corpus DIR        training and held-out speech for train.py, two .npz files

Everything follows from fixed seeds (espeak-ng 1.51 was used; its samples depend on the machine too). The
held-out sentences are drawn first and their texts never enter training; the bundled are the first of them.
Needs espeak-ng, numpy and scipy; imports neither torch nor funasr.
"""

import argparse
import random
import subprocess
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grammar import TEMPLATES, sentence
from scipy.signal import resample_poly

SAMPLE_RATE = 16000
MANDARIN = "cmn-latn-pinyin"  # espeak-ng 1.51's plain `cmn` reads 天 as English "tian one"
HELD_OUT_COUNT = 400
BUNDLED_COUNT, TRAINING_COUNT = 40, 14000
VARIANTS = ["", *(f"m{i}" for i in range(1, 9)), *(f"f{i}" for i in range(1, 6)),
            "Andy", "Annie", "Alex", "Alicia", "Michael", "Mario", "linda", "pablo", "steph"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How one utterance is spoken and what is done to it afterwards."""

    variant: str
    speed: int  # espeak-ng's words per minute
    pitch: int  # 0..99
    snr_db: float
    pink: bool
    peak_db: float


SPEAKERS = {
    "D0001": Voice(variant="", speed=165, pitch=45, snr_db=35.0, pink=False, peak_db=-3.0),
    "D0002": Voice(variant="f2", speed=180, pitch=60, snr_db=25.0, pink=True, peak_db=-9.0),
    "D0003": Voice(variant="klatt3", speed=225, pitch=40, snr_db=15.0, pink=True, peak_db=-6.0),
    "D0004": Voice(variant="whisperf", speed=205, pitch=60, snr_db=4.0, pink=False, peak_db=-12.0),
}  # the last two voices never occur in training, so that the bundled utterances hold some errors


def random_voice(rng: random.Random) -> Voice:
    """A voice from the range the training speech covers."""
    return Voice(
        variant=rng.choice(VARIANTS),
        speed=rng.randint(140, 225),
        pitch=rng.randint(20, 80),
        snr_db=rng.uniform(6.0, 40.0),
        pink=rng.random() < 0.5,
        peak_db=rng.uniform(-20.0, -1.0),
    )


def speak(text: str, voice: Voice) -> np.ndarray:
    """The samples of one run of words of one language, float64 at 16 kHz, outer silence cut away."""
    language = "en" if text.isascii() else MANDARIN
    name = f"{language}+{voice.variant}" if voice.variant else language
    command = ["espeak-ng", "-v", name, "-s", str(voice.speed), "-p", str(voice.pitch), "--stdout", text]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    samples = np.frombuffer(raw[44:], dtype="<i2").astype(np.float64) / 32768.0
    samples = resample_poly(samples, 320, 441)  # 22,050 Hz -> 16,000 Hz
    loud = np.flatnonzero(np.abs(samples) > 0.004)
    return samples[loud[0] : loud[-1] + 1]


def language_runs(text: str) -> list[str]:
    """The sentence cut where Mandarin and English meet; Mandarin words are joined, as text is written."""
    runs: list[str] = []
    for word in text.split():
        if runs and runs[-1].isascii() == word.isascii():
            runs[-1] += (" " if word.isascii() else "") + word
        else:
            runs.append(word)
    return runs


def noise(length: int, pink: bool, rng: np.random.Generator) -> np.ndarray:
    """White noise, or noise that falls 3 dB per octave, of unit power."""
    white = rng.standard_normal(length)
    if not pink:
        return white
    spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(length // 2 + 1), 8.0))
    shaped = np.fft.irfft(spectrum, length)
    return shaped / shaped.std()


def utterance(text: str, voice: Voice, seed: int) -> np.ndarray:
    """One finished utterance as int16 samples: speech, short pauses at both ends, noise, level."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(int(rng.uniform(0.10, 0.35) * SAMPLE_RATE))]
    for run in language_runs(text):
        parts += [speak(run, voice), np.zeros(int(0.06 * SAMPLE_RATE))]
    parts.append(np.zeros(int(rng.uniform(0.05, 0.25) * SAMPLE_RATE)))
    speech = np.concatenate(parts)
    power = np.mean(speech**2)
    mixed = speech + noise(speech.size, voice.pink, rng) * np.sqrt(power / 10 ** (voice.snr_db / 10))
    mixed *= 10 ** (voice.peak_db / 20) / np.abs(mixed).max()
    return np.round(mixed * 32767).astype(np.int16)


def held_out_sentences() -> list[str]:
    """The sentences no training utterance may say, in a fixed order that walks through all kinds."""
    rng, texts, kinds = random.Random("held-out"), [], list(TEMPLATES)
    while len(texts) < HELD_OUT_COUNT:
        text = sentence(rng, kinds[len(texts) % len(kinds)])
        if text not in texts:
            texts.append(text)
    return texts


def training_sentences(count: int) -> list[str]:
    """`count` sentences, repeats allowed, none of them held out."""
    rng, texts, kinds = random.Random("training"), [], list(TEMPLATES)
    spoken_alike = {text.replace("她", "他") for text in held_out_sentences()}
    while len(texts) < count:
        text = sentence(rng, kinds[len(texts) % len(kinds)])
        if text.replace("她", "他") not in spoken_alike:
            texts.append(text)
    return texts


def _one(job: tuple[str, Voice, int]) -> np.ndarray:
    return utterance(*job)


def corpus(folder: Path, count: int, workers: int) -> None:
    """Write train.npz and held_out.npz: `samples` end to end, `lengths`, `texts`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts, first_seed in (
        ("held_out", held_out_sentences(), 1_000_000),
        ("train", training_sentences(count), 2_000_000),
    ):
        rng = random.Random(f"{name} voices")
        speakers = list(SPEAKERS.values())
        jobs = []
        for i, text in enumerate(texts):
            voice = random_voice(rng) if name == "train" else speakers[i % len(speakers)]
            jobs.append((text, voice, first_seed + i))
        with ProcessPoolExecutor(workers) as pool:
            spoken = list(pool.map(_one, jobs, chunksize=50))
        lengths = np.array([samples.size for samples in spoken])
        samples = np.concatenate(spoken)
        np.savez(folder / f"{name}.npz", samples=samples, lengths=lengths, texts=np.array(texts))
        print(f"{name}: {len(texts)} utterances, {lengths.sum() / SAMPLE_RATE / 3600:.2f} h", flush=True)


def write_wav(path: Path, samples: np.ndarray) -> None:
    """16 kHz, mono, 16-bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())


def bundle(folder: Path, count: int) -> None:
    """Write the first `count` held-out utterances as AISHELL lays a corpus out."""
    lines = []
    for i, text in enumerate(held_out_sentences()[:count]):
        speaker = list(SPEAKERS)[i % len(SPEAKERS)]
        utt_id = f"DEMO{speaker}W{i // len(SPEAKERS) + 1:04d}"
        samples = utterance(text, SPEAKERS[speaker], 1_000_000 + i)
        write_wav(folder / "wav" / "test" / speaker / f"{utt_id}.wav", samples)
        lines.append(f"{utt_id} {text}")
    transcript = folder / "transcript" / "aishell_transcript_v0.8.txt"
    transcript.parent.mkdir(parents=True, exist_ok=True)
    transcript.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and make one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["bundle", "corpus"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, help="utterances: 40 to bundle, 14000 to train on")
    parser.add_argument("--workers", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.what == "bundle":
        bundle(arguments.folder, arguments.count or BUNDLED_COUNT)
    else:
        corpus(arguments.folder, arguments.count or TRAINING_COUNT, arguments.workers)


if __name__ == "__main__":
    main()
