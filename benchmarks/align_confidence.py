"""How well an aligner's confidence tells right texts from wrong ones, and what it says of silence and noise.

    python benchmarks/align_confidence.py MODEL KALDI_DIR [--limit N]

Each recording is aligned with its own text, and with others: another recording's, half of its own, its own twice,
without its last quarter, some characters more or less. Printed is the area under the ROC curve (0.5: by chance; 1:
always told apart) of right against wrong, and the median confidence. Wrong texts of the right length are left out: the
network sees nothing of a text but how many tokens it has.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SEED = 7


def area(right: list[float], wrong: list[float]) -> float:
    """Return how often a right one has the higher confidence, ties counted half."""
    pairs = np.subtract.outer(np.array(right), np.array(wrong))
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def wrong_texts(texts: list[str]) -> dict[str, list[str]]:
    """Return what is given in place of each text, by kind."""
    others = texts[:]
    random.Random(SEED).shuffle(others)
    changes: dict[str, Callable[[str], str]] = {
        "half of it": lambda text: text[: max(len(text) // 2, 1)],
        "twice": lambda text: text * 2,
        "last quarter missing": lambda text: text[: max(len(text) - max(len(text) // 4, 1), 1)],
        "one character more": lambda text: text + text[-1],
        "one character less": lambda text: text[:-1] or text,
        "three characters more": lambda text: text + text[-1] * 3,
        "three characters less": lambda text: text[:-3] or text,
    }
    return {"another recording's": others} | {name: [*map(change, texts)] for name, change in changes.items()}


def confidences(model: Any, audio: list[Any], texts: list[str]) -> list[float | None]:
    """Return the confidence of each alignment."""
    return [item.confidence for item in model.align(audio, texts)]


def main() -> None:
    """Print one line a kind of text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("kaldi", type=Path)
    parser.add_argument("--limit", type=int, default=500)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from benchmarks.align_identity import cases_of
    from mlx_model.audio.files import load_audio
    from mlx_model.loading import load

    model = load(given.model)
    cases = cases_of(given.kaldi, given.limit)
    audio, texts = [load_audio(path, model.config.frontend.fs) for path, _ in cases], [text for _, text in cases]
    heard = confidences(model, audio, texts)
    right = [value for value in heard if value is not None]
    print(f"right: {len(right)} texts, median {np.median(right):.3f}, 5 % below {np.percentile(right, 5):.3f}")
    lengths = [len(model.known(text).tokens) for text in texts]
    for kind, others in wrong_texts(texts).items():
        rows = zip(confidences(model, audio, others), others, lengths, strict=True)
        wrong = [value for value, text, length in rows if value is not None and len(model.known(text).tokens) != length]
        print(f"{kind}: {len(wrong)}, median {np.median(wrong):.3f}, AUC {area(right, wrong):.3f}", flush=True)
    rate, noise = model.config.frontend.fs, np.random.default_rng(SEED)
    for name, waveform in (
        ("silence", np.zeros(3 * rate, np.float32)), ("noise", noise.normal(0, 0.05, 3 * rate).astype(np.float32)),
    ):  # fmt: skip
        (found,) = model.align(waveform, "今天天气很好")
        print(f"{name}, 3 s: confidence {found.confidence}, {found.error or found.notes}")


if __name__ == "__main__":
    main()
