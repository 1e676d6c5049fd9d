"""Bootstrap of 10,000 resamples over AISHELL-1's 7,176 test utterances, beside kaldialign.bootstrap_wer_ci.

    python benchmarks/cer_statistics.py [--resamples 10000] [--rounds 5] [--transcript FILE] [--out FILE]

Bar: under 5 s on one core. The references are AISHELL-1's own; the two hypothesis sets are made from them (characters
substituted, deleted and doubled, about 5 %, utterances of unequal difficulty). kaldialign counts the edits in the same
call, so its bootstrap alone is timed too, through its private function. Both sides run in this process, in turn, on one
thread. Two further cases have no peer: a set in which no two utterances are alike, our slow case, and 1,000,000
utterances. Exit code 1 where the widths differ by more than 5 %, or the probabilities of improvement by more than 0.03:
kaldialign's interval is 1.96 standard deviations of the same distribution, and both are Monte Carlo estimates.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np

TRANSCRIPT = measure.SHARED / "data" / "aishell_transcripts" / "test.text"
BAR_S, WIDTH_BAR, PROBABILITY_BAR = 5.0, 0.05, 0.03
LARGE = 1_000_000


def disturb(text: str, rate: float, generator: np.random.Generator) -> str:
    """Return the text with about `rate` of its characters substituted, deleted or doubled."""
    kinds = generator.choice(4, size=len(text), p=(1 - rate, rate * 0.8, rate * 0.1, rate * 0.1))
    return "".join((character, "错", "", character * 2)[kind] for character, kind in zip(text, kinds, strict=True))


def systems(path: Path, seed: int = 0) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return speakers, references, and the hypotheses of two systems, the second of them slightly better."""
    lines = [line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines()]
    generator = np.random.default_rng(seed)
    references = ["".join(line[1].split()) for line in lines]
    hardness = generator.gamma(1.0, 0.05, size=len(lines)).clip(max=0.5)
    first = [disturb(text, rate, generator) for text, rate in zip(references, hardness, strict=True)]
    second = [disturb(text, 0.97 * rate, generator) for text, rate in zip(references, hardness, strict=True)]
    return [line[0][6:11] for line in lines], references, first, second


def large_set(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors of two systems and lengths of LARGE utterances as long as those given, of unequal difficulty."""
    generator = np.random.default_rng(0)
    drawn = generator.choice(lengths, LARGE)
    hardness = generator.gamma(1.0, 0.05, size=LARGE).clip(max=0.5)
    return generator.binomial(drawn, hardness), generator.binomial(drawn, 0.97 * hardness), drawn


def cases(path: Path, resamples: int) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return what is timed: for each case its sides."""
    import _kaldialign
    import kaldialign

    from parity.cer.statistics import bootstrap_interval, paired_bootstrap

    speakers, references, first, second = systems(path)
    lengths = np.array([len(text) for text in references])
    errors_a, errors_b = (
        np.array([kaldialign.edit_distance(r, h)["total"] for r, h in zip(references, hypotheses, strict=True)])
        for hypotheses in (first, second)
    )
    edits = list(zip(errors_a.tolist(), lengths.tolist(), strict=True))
    count = f"{len(references):,} utterances"
    ours = partial(bootstrap_interval, resamples=resamples)
    paired = partial(paired_bootstrap, resamples=resamples)
    peer = partial(kaldialign.bootstrap_wer_ci, replications=resamples)
    alone = partial(_kaldialign._get_boostrap_wer_interval, replications=resamples, seed=0)
    return {
        f"interval, {count}": {
            "numpy": partial(ours, errors_a, lengths),
            "kaldialign": partial(peer, references, first),
            "kaldialign, edits given": partial(alone, edits),
        },
        f"paired, {count}": {
            "numpy": partial(paired, errors_a, errors_b, lengths),
            "kaldialign": partial(peer, references, first, second),
        },
        f"paired, {len(set(speakers))} speakers": {
            "numpy": partial(paired, errors_a, errors_b, lengths, groups=speakers)
        },
        f"interval, {count}, no two alike": {"numpy": partial(ours, errors_a, 1000 * np.arange(1, len(lengths) + 1))},
        f"paired, {LARGE:,} utterances": {"numpy": partial(paired, *large_set(lengths))},
    }


def agreement(found: dict[str, dict[str, Callable[[], Any]]]) -> dict[str, float]:
    """Return both sides' half width of the interval and probability of improvement."""
    interval, paired = list(found.values())[:2]
    ours, peer = paired["numpy"](), paired["kaldialign"]()
    mine = interval["numpy"]()
    return {
        "half_width": (mine.high - mine.low) / 2,
        "kaldialign_half_width": peer["system1"]["ci95"],
        "probability_of_improvement": ours.probability_of_improvement,
        "kaldialign_probability_of_improvement": peer["p_s2_improv_over_s1"],
    }


def peak_mb(function: Callable[[], Any]) -> float:
    """Return the most memory numpy and Python allocated during one call."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> int:
    """Measure every case and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transcript", type=Path, default=TRANSCRIPT, help="Kaldi text file, ids as AISHELL's")
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, table = [], []
    found = cases(options.transcript, options.resamples)
    for case, sides in found.items():
        turns = {name: partial(measure.timed, side) for name, side in sides.items()}
        seconds, noise = measure.interleave(turns, options.rounds)
        reference = "kaldialign" if "kaldialign" in sides else "numpy"
        rows += measure.bench_rows(case, seconds, reference)
        base = statistics.median(seconds[reference])
        ratio = "" if reference == "numpy" else f"{statistics.median(seconds['numpy']) / base:.2f}"
        others = "; ".join(f"{name}: {measure.milliseconds(seconds[name])}" for name in sides if name != "numpy")
        peak = f"peak {peak_mb(sides['numpy']):.0f} MB"
        table.append(
            f"| {case}, {options.resamples:,} resamples | {measure.milliseconds(seconds['numpy'])} "
            f"| {others or f'bar {BAR_S:g} s'} | {ratio} | {noise}; {peak} |"
        )
    measured = agreement(found)
    measure.publish("cer_statistics", rows, table, options.out, [], **measured)
    print(" ".join(f"{name}={value:.5f}" for name, value in measured.items()), file=sys.stderr)
    width = abs(measured["half_width"] / measured["kaldialign_half_width"] - 1)
    chance = abs(measured["probability_of_improvement"] - measured["kaldialign_probability_of_improvement"])
    return 0 if width < WIDTH_BAR and chance < PROBABILITY_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
