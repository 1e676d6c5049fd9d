"""References and hypotheses -> counted errors, one character one unit, with jiwer's aligner underneath.

Must not import mlx, torch or funasr. Every reference is scored: where its hypothesis is missing, all of it is deletions
(scorers that loop over the hypotheses, FunASR's metrics/wer.py among them, silently leave such utterances out).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jiwer

from parity.cer.normalize import Normalizer
from parity.cer.statistics import corpus_rate
from reports.schema import CerUtterance

# jiwer's default also strips the ends; what happens to the text is the normaliser's business alone.
_CHARACTERS = jiwer.ReduceToListOfListOfChars()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Rows in reference order and their sums. Texts in the rows are the normalised ones: hits + S + D = characters."""

    rows: tuple[CerUtterance, ...]
    substitutions: int
    deletions: int
    insertions: int
    hits: int
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """Substitutions + deletions + insertions: unique, while their split is one of several minimal ones."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Characters of all references together."""
        return self.hits + self.substitutions + self.deletions

    @property
    def cer(self) -> float:
        """Corpus (micro) CER: all errors over all reference characters."""
        return corpus_rate(self.errors, self.reference_length)

    @property
    def missing(self) -> int:
        """Utterances without a hypothesis (an empty hypothesis is not missing)."""
        return sum(row.hypothesis is None for row in self.rows)

    @property
    def ser(self) -> float:
        """Fraction of utterances with an error; one without a hypothesis is wrong even where nothing was to be said."""
        wrong = sum(row.hypothesis is None or utterance_errors(row) > 0 for row in self.rows)
        return wrong / len(self.rows) if self.rows else 0.0

    @property
    def mean_utterance_cer(self) -> float:
        """Mean of the utterances' own rates; those with an empty reference have none and are left out."""
        rates = [utterance_errors(row) / len(row.reference) for row in self.rows if row.reference]
        return sum(rates) / len(rates) if rates else self.cer


def utterance_errors(row: CerUtterance) -> int:
    """Return substitutions + deletions + insertions of one row."""
    return row.substitutions + row.deletions + row.insertions


def score(references: Mapping[str, str], hypotheses: Mapping[str, str | None], normalizer: Normalizer) -> Score:
    """Return the alignment and the counts of every reference against its hypothesis.

    A hypothesis that is absent or None counts as deletions of the whole reference. Against an empty reference every
    character of the hypothesis is an insertion. Hypotheses without a reference are counted in the notes and not scored.
    """
    truths = {utt_id: normalizer(text) for utt_id, text in references.items()}
    heard = {utt_id: _normalized(hypotheses.get(utt_id), normalizer) for utt_id in truths}
    output = jiwer.process_characters(
        list(truths.values()),
        [text or "" for text in heard.values()],
        reference_transform=_CHARACTERS,
        hypothesis_transform=_CHARACTERS,
    )
    rows = tuple(
        _row(utt_id, truths[utt_id], heard[utt_id], chunks)
        for utt_id, chunks in zip(truths, output.alignments, strict=True)
    )
    totals = Score(
        rows=rows,
        substitutions=sum(row.substitutions for row in rows),
        deletions=sum(row.deletions for row in rows),
        insertions=sum(row.insertions for row in rows),
        hits=sum(row.hits for row in rows),
        notes=tuple(_notes(truths, hypotheses)),
    )
    # Our counts come from the alignment that is shown; they must be the ones jiwer reports.
    assert (totals.substitutions, totals.deletions, totals.insertions, totals.hits) == (
        output.substitutions,
        output.deletions,
        output.insertions,
        output.hits,
    )
    return totals


def _normalized(text: str | None, normalizer: Normalizer) -> str | None:
    return None if text is None else normalizer(text)


def _row(utt_id: str, reference: str, hypothesis: str | None, chunks: list[jiwer.AlignmentChunk]) -> CerUtterance:
    pairs = _pairs(reference, hypothesis or "", chunks)
    return CerUtterance(
        utt_id=utt_id,
        reference=reference,
        hypothesis=hypothesis,
        substitutions=sum(None not in pair and pair[0] != pair[1] for pair in pairs),
        deletions=sum(pair[1] is None for pair in pairs),
        insertions=sum(pair[0] is None for pair in pairs),
        hits=sum(pair[0] == pair[1] for pair in pairs),
        alignment=pairs,
    )


def _pairs(reference: str, hypothesis: str, chunks: list[jiwer.AlignmentChunk]) -> list[list[str | None]]:
    """Return [reference character | None, hypothesis character | None] along the alignment."""
    pairs: list[list[str | None]] = []
    for chunk in chunks:
        left = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        right = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            pairs.extend([character, None] for character in left)
        elif chunk.type == "insert":
            pairs.extend([None, character] for character in right)
        else:
            pairs.extend([a, b] for a, b in zip(left, right, strict=True))
    return pairs


def _notes(truths: Mapping[str, str], hypotheses: Mapping[str, str | None]) -> list[str]:
    notes = []
    if surplus := [utt_id for utt_id in hypotheses if utt_id not in truths]:
        notes.append(f"{len(surplus)} hypotheses have no reference and are not scored (first: {surplus[0]})")
    if absent := [utt_id for utt_id in truths if hypotheses.get(utt_id) is None]:
        notes.append(f"{len(absent)} of {len(truths)} utterances have no hypothesis: deletions (first: {absent[0]})")
    if empty := [utt_id for utt_id, text in truths.items() if not text]:
        notes.append(
            f"{len(empty)} references are empty after normalisation: insertions count, but they have no rate of their "
            f"own in the mean per utterance (first: {empty[0]})"
        )
    return notes
