"""Realistic error rate reports and comparisons for the tests of their pages: AISHELL-like Chinese, some English.

Hypotheses are references with errors put in by a seeded generator and aligned here by plain dynamic programming, so
that every count of a sample fits every other one; intervals and p values are made up, of the size that real runs have.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import math
import random
import wave
from collections import Counter
from collections.abc import Sequence
from typing import Any

from reports.schema.cer import (
    Bin,
    Calibration,
    CalibrationBin,
    CerDivision,
    CerGroup,
    CerReport,
    CerUtterance,
    CompareReport,
    CompareSide,
    Confusion,
    DifferingUtterance,
    Failure,
    PairedGroup,
)  # fmt: skip

Pairs = list[list[str | None]]
TEXTS = [
    "甚至出现交易几乎停滞的情况", "一二线城市虽然也处于调整中", "但因为聚集了过多公共资源",
    "为了规避三四线城市明显过剩的市场风险", "标杆房企必然调整市场战略", "因此土地储备至关重要",
    "中原地产首席分析师张大伟说", "一线城市土地供应量减少", "也助推了土地市场的火爆", "北京仅新增住宅土地供应十宗",
    "尚街LOFT时尚生活园区", "请帮我打开WIFI和客厅的空调", "设定二十九度", "哈根达斯", "今天天气很好",
    "他在昨天的发布会上说以后的交易量还会增长", "打开GOOGLE地图", "九井日本料理",
    "湖北一嫌疑人持刀与警察对峙后坠楼", "好",
]  # fmt: skip
HEARD = dict(zip("线剩的在以交井场坠度供资I张持况", "县胜地再已教景厂追渡公自Y章迟矿", strict=True))
SPEAKERS = ("S0764", "S0765", "S0766", "S0767", "S0768", "S0769", "S0770", "S0901")
ENGLISH = [
    ("turn on the light in the kitchen", "turn on a light in kitchen"),
    ("what is the weather in London tomorrow", "what is the the weather in London tomorrow"),
    ("please play some music", "please play some music"),
    ("don't remind me", "do remind me"),
]
NAMES = ("utterances", "substitutions", "deletions", "insertions", "hits", "missing", "cer", "ser")


def recording() -> str:
    """Return a quarter of a second of a tone as a data: URI."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8000)
        out.writeframes(bytes(128 + round(60 * math.sin(0.35 * turn)) for turn in range(2000)))
    return "data:audio/wav;base64," + base64.b64encode(stream.getvalue()).decode()


def align(reference: Sequence[str], hypothesis: Sequence[str], space: str = "") -> Pairs:
    """Return a minimal alignment as reports store it: agreeing units joined, every error on its own."""
    rows, columns = len(reference), len(hypothesis)
    cost = [[max(i, j) if not (i and j) else 0 for j in range(columns + 1)] for i in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            swap = cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1])
            cost[i][j] = min(swap, cost[i - 1][j] + 1, cost[i][j - 1] + 1)
    pairs: Pairs = []
    i, j = rows, columns
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append([reference[i], hypothesis[j]])
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append([reference[i], None])
        else:
            j -= 1
            pairs.append([None, hypothesis[j]])
    joined: Pairs = []
    for left, right in reversed(pairs):
        if joined and left == right and joined[-1][0] == joined[-1][1]:
            joined[-1] = [f"{joined[-1][0]}{space}{left}"] * 2
        else:
            joined.append([left, right])
    return joined


def scored(utt_id: str, reference: str, hypothesis: str | None, space: str = "", **known: Any) -> CerUtterance:
    """Return one row, counted from its alignment."""
    cut = (lambda text: text.split()) if space else list
    pairs = align(cut(reference), cut(hypothesis or ""), space)
    hits = [str(left) for left, right in pairs if left == right]
    return CerUtterance(
        utt_id=utt_id, reference=reference, hypothesis=hypothesis,
        substitutions=sum(None not in pair and pair[0] != pair[1] for pair in pairs),
        deletions=sum(right is None for _, right in pairs), insertions=sum(left is None for left, _ in pairs),
        hits=sum(len(cut(text)) for text in hits), alignment=pairs, **known,
    )  # fmt: skip


def errors(row: CerUtterance) -> int:
    return row.substitutions + row.deletions + row.insertions


def utterances(seed: int = 7, share: float = 0.06) -> list[CerUtterance]:
    """Return 160 rows; the fifth is missing, the eleventh failed, the worst have a recording."""
    dice, rows = random.Random(seed), []
    for number in range(160):
        text, speaker = TEXTS[(3 * number) % len(TEXTS)], SPEAKERS[number % len(SPEAKERS)]
        risk = share * (1 + SPEAKERS.index(speaker) / 3)
        heard = "".join(_heard(character, dice, risk) for character in text)
        lost = number in (5, 11)
        rows.append(scored(
            f"BAC009{speaker}W{121 + number:04d}", text, None if lost else heard, speaker=speaker,
            duration_s=round(0.8 + 0.21 * len(text) * dice.uniform(0.8, 1.4), 3),
            error="cannot decode: truncated WAV header" if number == 11 else None,
            audio=recording() if number % 3 == 1 else None,
        ))  # fmt: skip
    return rows


def _heard(character: str, dice: random.Random, risk: float) -> str:
    chance = dice.random()
    if chance < risk * 0.55 or character == "井":
        return HEARD.get(character, character)
    if chance < risk * 0.8:
        return ""
    return character + "了" if chance < risk else character


def group(name: str, rows: Sequence[CerUtterance]) -> CerGroup:
    sums = [sum(getattr(row, field) for row in rows) for field in NAMES[1:5]]
    length = sums[0] + sums[1] + sums[3]
    wrong = sum(errors(row) > 0 for row in rows)
    lost = sum(row.hypothesis is None for row in rows)
    values = (len(rows), *sums, lost, sum(sums[:3]) / length, wrong / len(rows))
    return CerGroup(name=name, **dict(zip(NAMES, values, strict=True)))  # pyright: ignore[reportArgumentType]


def _divided(name: str, rows: Sequence[CerUtterance], order: Sequence[str], key: Any) -> CerDivision:
    return CerDivision(name=name, groups=[
        group(label, held) for label in order if (held := [row for row in rows if key(row) == label])
    ])  # fmt: skip


def divisions(rows: Sequence[CerUtterance]) -> list[CerDivision]:
    """Return the five divisions, named as parity/cer names them."""

    def bucket(edges: Sequence[int], unit: str, value: Any) -> tuple[list[str], Any]:
        spans = [f"< {edges[0]}", *(f"{a}-{b}" for a, b in itertools.pairwise(edges)), f">= {edges[-1]}"]
        names = [f"{span} {unit}".strip() for span in spans]
        return names, lambda row: names[sum(value(row) >= edge for edge in edges)]

    return [
        _divided("speaker", rows, SPEAKERS, lambda row: row.speaker),
        _divided("length", rows, *bucket((6, 11, 16, 21), "", lambda row: len(row.reference))),
        _divided("duration", rows, *bucket((1, 2, 3, 5), "s", lambda row: row.duration_s)),
        _divided("rate", rows, *bucket((2, 3, 4, 5), "per second", lambda row: len(row.reference) / row.duration_s)),
        _divided("condition", rows, ["quiet", "street"], lambda row: "quiet" if row.speaker < "S0768" else "street"),
    ]  # fmt: skip


def confusions(rows: Sequence[CerUtterance]) -> list[Confusion]:
    found: dict[str, Counter[tuple[str | None, str | None]]] = {kind: Counter() for kind in "SDI"}
    for row in rows:
        for left, right in row.alignment:
            if left != right:
                found["I" if left is None else "D" if right is None else "S"][left, right] += 1
    return [
        Confusion(kind=kind, reference=left, hypothesis=right, count=count)
        for kind, pairs in found.items() for (left, right), count in pairs.most_common(20)
    ]  # fmt: skip


def _bins(values: Sequence[float], edges: Sequence[float], words: str) -> list[Bin]:
    labels = ["0", *(words.format(edge) for edge in edges)]
    places = [0 if value <= 0 else 1 + sum(value > edge for edge in edges[:-1]) for value in values]
    return [Bin(label=label, count=places.count(place)) for place, label in enumerate(labels)]


def report(rows: Sequence[CerUtterance], environment: dict[str, Any], **changes: Any) -> CerReport:
    """Return the report of some rows."""
    total = group("all", rows)
    rates = [errors(row) / (row.substitutions + row.deletions + row.hits) for row in rows]
    worst = sorted((row for row in rows if errors(row)), key=lambda row: -errors(row) / len(row.reference))
    failed = [Failure(utt_id=row.utt_id, error=row.error) for row in rows if row.error]
    made = CerReport(
        cer=total.cer, substitutions=total.substitutions, deletions=total.deletions, insertions=total.insertions,
        hits=total.hits, reference_length=total.substitutions + total.deletions + total.hits, utterances=len(rows),
        missing=total.missing, failed=len(failed), ci95=[0.8 * total.cer, 1.23 * total.cer],
        ci95_speakers=[0.62 * total.cer, 1.44 * total.cer], ser=total.ser, mean_utterance_cer=sum(rates) / len(rates),
        normalizer="aishell", normalizer_version=1, normalizer_fingerprint="5e1f0c9a7b32",
        normalizer_steps=["remove white space", "remove punctuation (P*)", "upper case"],
        dataset="AISHELL-1 test, speakers S0764 to S0901", engine="mlx", model="runs/paraformer-large-mlx", unit="char",
        audio_s=612.41, wall_s=16.37, rtf=16.37 / 612.41, data_sha256="c0ffee42" * 8, model_sha256="3d491689" * 8,
        divisions=divisions(rows) if rows[0].duration_s else [], confusions=confusions(rows),
        rate_bins=_bins(rates, [step / 10 for step in range(1, 11)], "≤ {:.0%}"),
        rtf_bins=[Bin(label=f"{step / 100:.2f}", count=max(0, 40 - 9 * abs(step - 3))) for step in range(1, 9)],
        failures=failed, worst=worst[:50],
        dataset_notes=["7,176 transcripts, 160 used: --limit.", "325 recordings have no transcript."],
        notes=["Intervals: bootstrap, 10,000 draws, seed 0."], environment=environment,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def cer(environment: dict[str, Any]) -> CerReport:
    """Chinese with some English words: every kind of error, two without a hypothesis, one of them failed."""
    return report(utterances(), environment, confidence=calibration())


def calibration() -> Calibration:
    """Confidences of a model that is a little too sure of itself; one bin is empty."""
    counts = (3, 8, 0, 12, 21, 33, 60, 140, 420, 12_400)
    right = (0, 1, 0, 4, 8, 15, 33, 95, 350, 12_290)
    bins = [
        CalibrationBin(
            low=number / 10, high=(number + 1) / 10, count=count, confidence=(number + 0.55) / 10,
            accuracy=good / max(count, 1), ci95=[0.5 * good / max(count, 1), 1.0],
        )
        for number, (count, good) in enumerate(zip(counts, right, strict=True))
    ]  # fmt: skip
    roc = [[share**4, share] for share in (0.0, 0.2, 0.5, 0.8, 0.9, 1.0)]
    return Calibration(
        tokens=sum(counts), left_out=2, accuracy=sum(right) / sum(counts), confidence=0.98, ece=0.0123, auc=0.91,
        bins=bins, roc=roc,
    )  # fmt: skip


def words(environment: dict[str, Any]) -> CerReport:
    """Four English sentences, counted in words: a complete run without recordings or durations."""
    rows = [scored(f"en-{number}", *pair, space=" ") for number, pair in enumerate(ENGLISH)]
    return report(
        rows, environment, unit="word", normalizer="whisper-en", dataset="English <smoke> test", engine="funasr",
        ci95_speakers=None, divisions=[], rtf_bins=[], audio_s=None, wall_s=None, rtf=None, data_sha256=None,
    )  # fmt: skip


def _side(of: CerReport, run: str) -> CompareSide:
    sums = ("substitutions", "deletions", "insertions", "hits", "missing")
    names = ("engine", "model", "cer", "ci95", *sums, "ser", "rtf")
    return CompareSide(run=run, **{name: getattr(of, name) for name in names})


def _differing(one: CerUtterance, other: CerUtterance) -> DifferingUtterance:
    return DifferingUtterance(
        utt_id=one.utt_id, reference=one.reference, hypothesis_a=one.hypothesis, hypothesis_b=other.hypothesis,
        errors_a=errors(one), errors_b=errors(other), alignment_a=one.alignment, alignment_b=other.alignment,
        speaker=one.speaker, duration_s=one.duration_s, audio=one.audio,
        margin="token 5: 线 over 县 by 0.3 nat, noise 1e-05" if "线" in one.reference else None,
    )  # fmt: skip


def compare(environment: dict[str, Any]) -> CompareReport:
    """Two recognisers of which B makes more errors, clearly so over utterances and not over speakers."""
    one, other = utterances(), utterances(seed=11, share=0.085)
    a, b = report(one, environment), report(other, environment, engine="funasr", model="iic/paraformer-zh", rtf=0.041)
    apart = [(x, y) for x, y in zip(one, other, strict=True) if x.hypothesis != y.hypothesis]
    apart.sort(key=lambda pair: -abs(errors(pair[0]) - errors(pair[1])))
    difference = b.cer - a.cer
    return CompareReport(
        difference=difference, ci95=[0.2 * difference, 1.9 * difference],
        ci95_speakers=[-0.4 * difference, 2.3 * difference], probability_of_improvement=0.0123, p_mapsswe=0.0241,
        mapsswe_z=2.255, mapsswe_segments=131, utterances_needed=188,
        sentence=f"B's error rate is {100 * difference:.2f} points higher than A's, and 160 utterances are enough.",
        a=_side(a, "runs/cer-mlx-float32"), b=_side(b, "runs/cer-funasr"), utterances=160,
        identical=160 - len(apart), reference_length=a.reference_length, normalizer="aishell 1", unit="char",
        better_a=sum(errors(x) < errors(y) for x, y in apart), better_b=sum(errors(x) > errors(y) for x, y in apart),
        differing_total=len(apart), differing=[_differing(*pair) for pair in apart[:40]],
        groups=[
            PairedGroup(name=f"{division.name} {x.name}", utterances=x.utterances, cer_a=x.cer, cer_b=y.cer,
                        difference=y.cer - x.cer)
            for division, paired in zip(a.divisions, b.divisions, strict=True)
            for x, y in zip(division.groups, paired.groups, strict=True)
        ],
        notes=["Paired bootstrap over utterances, 10,000 draws, seed 0."], environment=environment,
    )  # fmt: skip


def same(environment: dict[str, Any]) -> CompareReport:
    """Two runs with the same text everywhere: what parity should end in."""
    a = report(utterances(), environment)
    return CompareReport(
        difference=0.0, ci95=[0.0, 0.0], probability_of_improvement=0.0, p_mapsswe=1.0, mapsswe_z=0.0,
        sentence="No difference: both make equally many errors in each of 160 utterances.",
        a=_side(a, "out/cer-mlx"), b=_side(a, "out/cer-funasr"),
        utterances=160, identical=160, reference_length=a.reference_length, normalizer="aishell", unit="char",
        environment=environment,
    )  # fmt: skip
