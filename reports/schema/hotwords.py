"""What an error rate report says of hotwords. Stdlib only; read through reports.schema."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HotwordCounts:
    """One hotword: how often it stands in the references and the hypotheses, and how many of these are right."""

    hotword: str
    reference: int
    hypothesis: int
    found: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CerHotwords:
    """How well hotwords were recognised, beside the error rate. Rates are fractions, None where there is nothing.

    An occurrence is where a hotword stands in a text, normalised, from the left on, the longest where several begin,
    none within another. Of the `reference` ones those are `found` whose units the alignment has all right, with nothing
    put in between; of the `hypothesis` ones those are `right` of which the same holds. `recall` is found / reference,
    `precision` right / hypothesis. `inside`: errors at units of the references' occurrences, and what was put in within
    one; `outside`: all others. `missed` holds the hotwords most often not found, `invented` those most often not right.
    """

    hotwords: int
    occurring: int
    reference: int
    hypothesis: int
    found: int
    right: int
    recall: float | None
    precision: float | None
    f1: float | None
    inside_length: int
    inside_errors: int
    inside_cer: float | None
    outside_length: int
    outside_errors: int
    outside_cer: float | None
    missed: list[HotwordCounts] = field(default_factory=list)
    invented: list[HotwordCounts] = field(default_factory=list)
