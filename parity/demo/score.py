"""Scores a model directory with FunASR's own AutoModel on an AISHELL-style tree of speech.

    python score.py model speech

The demo's card quotes these numbers, so they come from FunASR alone and share no code with the package.
"""

import argparse
from pathlib import Path

import numpy as np


def edits(ref: list, hyp: list) -> tuple[int, int, int]:
    """Substitutions, deletions and insertions of one cheapest alignment."""
    row = [(j, 0, 0, j) for j in range(len(hyp) + 1)]
    for i, expected in enumerate(ref, 1):
        last, row = row, [(i, 0, i, 0)]
        for j, found in enumerate(hyp, 1):
            cost, s, d, n = last[j - 1]
            wrong = int(expected != found)
            up, left = last[j], row[j - 1]
            row.append(
                min((cost + wrong, s + wrong, d, n), (up[0] + 1, up[1], up[2] + 1, up[3]),
                    (left[0] + 1, left[1], left[2], left[3] + 1))
            )  # fmt: skip
    return row[-1][1:]


def error_rate(pairs: list[tuple[list, list]]) -> dict:
    """CER over all pairs, with its counts."""
    totals = np.sum([edits(ref, hyp) for ref, hyp in pairs], axis=0).tolist()
    length = sum(len(ref) for ref, _ in pairs)
    return {
        "cer": sum(totals) / length,
        "sub/del/ins": totals,
        "characters": length,
        "utterances": len(pairs),
    }


def score(folder: Path, speech: Path) -> None:
    """Print FunASR's text for every utterance that differs, and the CER over all."""
    from funasr import AutoModel

    model = AutoModel(model=str(folder), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    lines = (speech / "transcript" / "aishell_transcript_v0.8.txt").read_text(encoding="utf-8").splitlines()
    texts = {utt_id: "".join(words) for utt_id, *words in map(str.split, lines)}
    pairs = []
    for path in sorted(speech.glob("wav/*/*/*.wav")):
        hyp = model.generate(input=str(path))[0]["text"].replace(" ", "")
        pairs.append((list(texts[path.stem]), list(hyp)))
        if hyp != texts[path.stem]:
            print(path.stem, texts[path.stem], "->", hyp)
    print(error_rate(pairs))


def main() -> None:
    """Parse the command line and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("speech", type=Path)
    arguments = parser.parse_args()
    score(arguments.model, arguments.speech)


if __name__ == "__main__":
    main()
