"""Scoring without a model: characters per second against jiwer and kaldialign, and memory against utterances.

    python benchmarks/cer_scoring.py [--characters 1000000] [--rounds 5] [--small 1000] [--large 100000]

Bars: a million reference characters a second on one core, all of normalising, aligning, counting and tallying included;
memory flat in the number of utterances. The references are AISHELL's 7,176 test sentences, repeated; the hypotheses the
same with 5 % of the characters replaced, 1 % dropped and 0.5 % added, from a fixed seed. Ours does all the work of
`cer`: both texts normalised (aishell), aligned, a row made, the tally of every group, confusion and worst utterance
kept. jiwer gets all texts in one call, kaldialign one call an utterance; neither normalises nor tallies, and all three
must find the same number of errors (exit code 1 where they do not). Speed is taken in one process, the three in turn;
memory is the growth of ru_maxrss over a process of its own for each size, which makes its utterances as it goes; what
an utterance takes is read off the largest size and half of it, when the bounded tables (20,000 confusions) are full.
The speed of each normaliser follows, on less text: those that call a library are slower where there are numbers.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import measure

TRANSCRIPTS = measure.SHARED / "data" / "aishell_transcripts" / "test.text"
SPEED_BAR = 1e6
GROWTH_BAR = 32  # bytes an utterance: three 4-byte numbers, and what Python's arrays keep to grow
NUMBERS = ("2024年3月5日", "12.5公里", "80%", "1,234元")

Pair = tuple[str, str, str]


def pairs(limit: int | None = None) -> Iterator[Pair]:
    """Yield (utt_id, reference, hypothesis) without end, or `limit` of them; the same ones each time."""
    if not TRANSCRIPTS.is_file():
        raise SystemExit(f"{TRANSCRIPTS} is absent; it holds the sentences that are scored")
    lines = [line.split(None, 1) for line in TRANSCRIPTS.read_text("utf-8").splitlines()]
    letters = "".join(text for _, text in lines)
    generator = random.Random(0)
    for number, (utt_id, text) in enumerate(itertools.cycle(lines)):
        if number == limit:
            return
        yield f"{utt_id}-{number // len(lines)}", text, heard(text, letters, generator)


def heard(text: str, letters: str, generator: random.Random) -> str:
    """Return the text with the errors of a middling recogniser."""
    parts = []
    for character in text:
        chance = generator.random()
        if chance < 0.05:
            parts.append(generator.choice(letters))
        elif chance >= 0.06:
            parts.append(character)
            if chance < 0.065:
                parts.append(generator.choice(letters))
    return "".join(parts)


def ours(texts: Iterator[Pair] | list[Pair], name: str = "aishell") -> int:
    """Return the errors our scorer counts, having done everything `cer` does with a text."""
    from parity.cer.normalize import find_normalizer
    from parity.cer.score import score_utterance
    from parity.cer.tally import Tally

    normalizer, tally = find_normalizer(name), Tally()
    for utt_id, reference, hypothesis in texts:
        row = score_utterance(utt_id, reference, hypothesis, normalizer, speaker=utt_id[6:11], duration_s=4.5)
        tally.add(row)
    return tally.total.errors


def with_jiwer(texts: list[Pair]) -> int:
    import jiwer

    output = jiwer.process_characters([text for _, text, _ in texts], [text for *_, text in texts])
    return output.substitutions + output.deletions + output.insertions


def with_kaldialign(texts: list[Pair]) -> int:
    import kaldialign

    return sum(int(kaldialign.edit_distance(left, right)["total"]) for _, left, right in texts)


def speed(characters: int, rounds: int) -> tuple[list[measure.BenchRow], list[str], bool]:
    """Return the rows, the table and whether all scorers found the same errors."""
    texts, total = [], 0
    for pair in pairs():
        texts.append(pair)
        total += len(pair[1])
        if total >= characters:
            break
    sides: dict[str, Callable[[list[Pair]], int]] = {
        "ours": ours, "jiwer": with_jiwer, "kaldialign": with_kaldialign,
    }  # fmt: skip
    errors = {name: side(texts) for name, side in sides.items()}
    turns = {name: lambda side=side: measure.timed(lambda: side(texts)) for name, side in sides.items()}
    found, noise = measure.interleave(turns, rounds)
    rows = measure.bench_rows(f"scoring {total:,} reference characters", found, "jiwer")
    rate = {name: total / statistics.median(values) for name, values in found.items()}
    table = [
        f"| scoring alone, {total:,} characters in {len(texts):,} utterances, CER {errors['ours'] / total:.1%} "
        f"| {rate['ours'] / 1e6:.2f} M characters/s (bar {SPEED_BAR / 1e6:g}) "
        f"| jiwer {rate['jiwer'] / 1e6:.2f}, kaldialign {rate['kaldialign'] / 1e6:.2f} M/s "
        f"| {rate['ours'] / rate['jiwer']:.1f}, {rate['ours'] / rate['kaldialign']:.1f} times | {noise} |"
    ]
    return rows, table, len(set(errors.values())) == 1


def normalisers(characters: int) -> list[str]:
    """Return one table row per normaliser: characters per second on sentences without and with a number."""
    from mlx_model.errors import DependencyError
    from parity.cer.normalize import NORMALIZERS

    plain = list(pairs(max(1, characters // 15)))
    numbered = [
        (key, left + (number := NUMBERS[index % 4]), right + number) for index, (key, left, right) in enumerate(plain)
    ]
    table = []
    for name in NORMALIZERS:
        cells = []
        for texts in (plain, numbered[: len(numbered) // 10 + 1]):
            try:
                ours(texts[:10], name)  # opens the library; a second whole run would find clauses in its cache
                seconds = measure.timed(lambda texts=texts[10:], name=name: ours(texts, name))
                cells.append(f"{sum(len(text) for _, text, _ in texts[10:]) / seconds:,.0f}")
            except DependencyError as error:
                cells.append(str(error))
        table.append(
            f"| scoring with {name}: plain, with a number in each sentence | {' | '.join(cells)} characters/s |"
        )
    return table


def peak_mb(utterances: int) -> float:
    """Return how far the peak memory of a process of its own grew while it scored so many utterances."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(utterances)], stdout=subprocess.PIPE, check=True, text=True
    )
    return float(done.stdout)


def child(utterances: int) -> int:
    """Print by how many MB scoring so many utterances raised the peak of this process."""
    scale = 1 if sys.platform == "darwin" else 1024
    ours(pairs(500))  # modules, tables and the sentences themselves are not the utterances' memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(pairs(utterances))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * scale / 1e6)
    return 0


def main() -> int:
    """Measure and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        return child(options.child)
    sizes = (options.small, options.large, 2 * options.large)
    peaks = {size: peak_mb(size) for size in sizes}
    growth = (peaks[sizes[2]] - peaks[sizes[1]]) * 1e6 / options.large
    rows, table, same = speed(options.characters, options.rounds)
    table.append(
        f"| peak memory of scoring {', '.join(f'{size:,}' for size in sizes)} utterances, above the empty scorer "
        f"| {', '.join(f'{peak:.1f}' for peak in peaks.values())} MB "
        f"| | {growth:.0f} bytes an utterance (bar {GROWTH_BAR}) | |"
    )
    table += normalisers(options.characters // 10)
    notes = [f"the three scorers {'agree' if same else 'DISAGREE'} on the number of errors"]
    measured = {"peak_growth_mb": {str(size): peak for size, peak in peaks.items()}, "bytes_an_utterance": growth}
    measure.publish("cer_scoring", rows, table, options.out, notes, **measured)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
