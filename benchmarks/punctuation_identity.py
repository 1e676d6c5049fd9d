"""Punctuation against FunASR, to the id and the character: AISHELL's sentences joined to texts, whole and in pieces.

    python benchmarks/punctuation_identity.py TRANSCRIPTS WORK_DIR MODEL... [--limit N] [--stream-words N]

TRANSCRIPTS is a Kaldi text, whose sentences are joined to texts of 1 to 2,000 words, English words and numbers among
them; MODELs are FunASR directories, CTTransformer or CTTransformerStreaming. Those are given the texts in pieces of 1
to 40 characters, too, up to `--stream-words` of each. FunASR runs in a process of its own
(tests/make_ct_transformer.py), one text at a time; ours all at once, as FunASR (`as_funasr`).
A difference is explained where a label of that text was a matter of less than 1e-4 between two logits. Answers of
FunASR are kept in WORK_DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LENGTHS = (1, 2, 3, 5, 12, 19, 20, 21, 40, 41, 60, 120, 199, 201, 260, 500, 1000, 2000)
ENGLISH = ("hello", "world", "USA", "iPhone", "it's", "ok", "10.5%", "A1", "test", "2020", "KTV", "don't")
NEAR = 1e-4  # between two logits


def texts_of(transcripts: Path, limit: int) -> list[str]:
    """Return all sentences joined to texts of LENGTHS by turns, one word in thirty of another script."""
    rng = random.Random(23)
    lines = [line.split(maxsplit=1)[1] for line in transcripts.read_text("utf-8").splitlines() if " " in line]
    rest = list("".join("".join(line.split()) for line in lines[:limit]))
    texts: list[str] = []
    while rest:
        count = LENGTHS[len(texts) % len(LENGTHS)]
        words = [f" {rng.choice(ENGLISH)} " if rng.random() < 1 / 30 else word for word in rest[:count]]
        texts.append("".join(words))
        rest = rest[count:]
    return texts


def streams_of(texts: list[str], longest: int) -> list[list[str]]:
    """Return the beginnings of the texts in pieces of 1 to 40 characters."""
    rng = random.Random(24)
    streams: list[list[str]] = []
    for text in texts[::3]:
        rest, pieces = text[:longest], []
        while rest:
            count = rng.randint(1, 40)
            pieces.append(rest[:count])
            rest = rest[count:]
        streams.append([piece for piece in pieces if piece.strip()])
    return streams


def funasr_answers(work: Path, model: Path, texts: list[str], streams: list[list[str]]) -> dict[str, Any]:
    """Return FunASR's answers, kept for the next run."""
    request = {"made": {"model": str(model)}, "texts": texts, "streams": streams}
    folder = work / hashlib.sha256(json.dumps(request).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "answers.json").is_file():
        (folder / "request.json").write_text(json.dumps({"folder": str(folder), **request}), "utf-8")
        maker = str(ROOT / "tests/make_ct_transformer.py")
        subprocess.run([sys.executable, maker, str(folder / "request.json")], check=True, capture_output=True)
    return json.loads((folder / "answers.json").read_text("utf-8"))["model"]


def watched(model: Any) -> list[float]:
    """Return a list that is given the smallest distance between the two largest logits of every window."""
    margins: list[float] = []
    plain = model._labelled

    def labelled(*arguments: Any) -> list[np.ndarray]:
        found = plain(*arguments)
        for logits in found:
            two = np.sort(logits, axis=-1)[:, -2:]
            margins.append(float((two[:, 1] - two[:, 0]).min()))
        return found

    object.__setattr__(model, "_labelled", labelled)
    return margins


def compare(source: Path, work: Path, texts: list[str], streams: list[list[str]]) -> dict[str, Any]:
    """Return how many texts, words and pieces were compared, on how many the two differ, and how often it is near."""
    theirs = funasr_answers(work, source, texts, streams)
    import convert
    from mlx_model.loading import load

    converted = work / f"{hashlib.sha256(str(source).encode()).hexdigest()[:12]}.mlx"
    if not converted.is_dir():
        convert.convert(source, converted)
    model = load(converted)
    started = time.perf_counter()
    ours = model.punctuate(texts, as_funasr=True)
    spent = time.perf_counter() - started
    alone = model.punctuate(texts[:12], as_funasr=True)
    assert alone == ours[:12], "a text's result depends on its batch"
    margins = watched(model)
    counted: dict[str, Any] = {
        "model": f"{source.parent.name}/{source.name}", "texts": len(texts), "words": 0, "differ": 0, "explained": 0,
        "funasr_fails": 0, "seconds": round(spent, 2), "pieces": 0, "pieces_differ": 0, "pieces_explained": 0,
    }  # fmt: skip
    for text, found, answer in zip(texts, ours, theirs["texts"], strict=True):
        counted["words"] += len(found.words)
        if "error" in answer:
            counted["funasr_fails"] += 1
        elif [found.text, found.punctuation] != [answer["text"], answer["punctuation"]]:
            margins.clear()
            model.punctuate([text], as_funasr=True)
            counted["differ"] += 1
            counted["explained"] += min(margins) < NEAR
            print(f"  {text[:40]!r}: {found.text[:60]!r} for {answer['text'][:60]!r}, {min(margins):.1e}")
    for pieces, answers in zip(streams, theirs["streams"], strict=False):
        compare_stream(model, pieces, answers, margins, counted)
    return counted


def compare_stream(model: Any, pieces: list[str], answers: list[Any], margins: list[float], counted: dict) -> None:
    """Compare one stream up to its first difference, behind which nothing is comparable."""
    cache = model.new_cache()
    for piece, answer in zip(pieces, answers, strict=True):
        if "error" in answer:  # FunASR's cache stays as it was
            counted["funasr_fails"] += 1
            continue
        margins.clear()
        found, cache = model.punctuate_next(piece, cache, as_funasr=True)
        counted["pieces"] += 1
        if [found.text, found.punctuation] != [answer["text"], answer["punctuation"]]:
            counted["pieces_differ"] += 1
            counted["pieces_explained"] += min(margins) < NEAR
            print(f"  piece {piece!r}: {found.text!r} for {answer['text']!r}, {min(margins):.1e}")
            return


def main() -> None:
    """Compare every model, and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("transcripts", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=7000)
    parser.add_argument("--stream-words", type=int, default=200)
    given = parser.parse_args()
    texts = texts_of(given.transcripts, given.limit)
    streams = streams_of(texts, given.stream_words)
    differ = 0
    for model in given.models:
        counted = compare(model, given.work, texts, streams)
        print(json.dumps(counted, ensure_ascii=False), flush=True)
        differ += counted["differ"] - counted["explained"] + counted["pieces_differ"] - counted["pieces_explained"]
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
