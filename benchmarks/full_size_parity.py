"""Parity at full size: FunASR float64 and float32 against MLX, 20 real utterances, a random released-size Paraformer.

    python benchmarks/full_size_parity.py [--source DIR] [--model DIR] [--utterances 20]

Bars: no alarm (verdict pass), token ids identical, firing frames identical, logits in rel_l2 from FunASR's float64
below 3 times the distance of FunASR's own float32. One call of parity.layers.run, whose whole report is kept beside the
summary. A random network's logits are flatter than a trained one's, which makes token ids harder to keep, not easier.
Exit code 1 where a bar is missed. Needs about 6 GB of memory (FunASR in both precisions).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure

LOGITS = "decoder.output_layer"
RATIO_BAR = 3.0


def summary(report: Any) -> dict[str, Any]:
    """Return the numbers that have a bar, and what they were counted over."""
    taps = {tap.name: tap for tap in report.taps}
    logits, ids = taps[LOGITS], taps["end_to_end.token_ids"]
    return {
        "utterances": len(report.utterances),
        "tokens": report.outcomes["token"].compared,
        "flipped_tokens": report.outcomes["token"].differ,
        "end_to_end_flipped_tokens": int(ids.max_abs),
        "firing_mismatches": report.outcomes["firing"].differ,
        "logits_rel_l2": logits.rel_l2,
        "logits_floor_rel_l2": logits.floor_rel_l2,
        "logits_ratio": logits.ratio,
        "verdict": report.verdict,
        "first_failure": report.first_failure,
        "worst_tap": max((tap.ratio or 0.0, tap.name) for tap in report.taps),
    }


def table(found: dict[str, Any]) -> list[str]:
    """Return the README's rows."""
    flips = found["flipped_tokens"] + found["end_to_end_flipped_tokens"]
    case = f"full size, {found['utterances']} utterances"
    return [
        f"| {case}: token ids | {flips} differ | identical | {found['tokens']} tokens | |",
        f"| {case}: firing frames | {found['firing_mismatches']} differ | identical | | |",
        f"| {case}: logits, rel_l2 from float64 | {found['logits_rel_l2']:.2e} | FunASR float32: "
        f"{found['logits_floor_rel_l2']:.2e} | {found['logits_ratio']:.2f} (bar {RATIO_BAR:g}) | |",
    ]


def main() -> int:
    """Run the comparison and judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--model", type=Path, help="its conversion; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--utterances", type=int, default=20)
    parser.add_argument("--out", type=Path, help="default reports/runs/full_size_parity.json")
    options = parser.parse_args()
    from parity.layers.run import run

    kept = (options.out or measure.RUNS / "full_size_parity.json").with_suffix("")
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        full_size_checkpoint.ensure(options.source)
        model = full_size_checkpoint.ensure_converted(options.source, options.model, Path(folder))
        start = time.perf_counter()
        report = run(options.source, model, measure.utterances(options.audio, options.utterances), out=kept)
    found = summary(report)
    seconds = {"both sides": [time.perf_counter() - start]}
    rows = measure.bench_rows(f"parity run, {found['utterances']} utterances", seconds, "both sides")
    verdict = f"verdict {found['verdict']}, first failure {found['first_failure']}"
    notes = [f"whole report: {kept.name}/parity.json; {verdict}"]
    measure.publish("full_size_parity", rows, table(found), options.out, notes, **found)
    exact = found["flipped_tokens"] + found["end_to_end_flipped_tokens"] + found["firing_mismatches"] == 0
    exact &= found["verdict"] == "pass"
    return 0 if exact and found["utterances"] >= options.utterances and found["logits_ratio"] < RATIO_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
