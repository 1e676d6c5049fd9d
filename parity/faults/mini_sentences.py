"""Faults of how a text is read in windows: where sentence ends are looked for, what is cut, what is read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from mlx_model.decoding import mini_sentences
from mlx_model.decoding.mini_sentences import Windows
from parity.faults.fault import Fault, exchange, fault
from parity.sides.candidate import Candidate

FILE = "mlx_model.decoding.mini_sentences"
WINDOWS = "end_to_end.windows"
MARKS = "end_to_end"  # marks that are wrong; in a stream they move the windows of the next call as well
LONG = "more than 200 words without a sentence end"
LAST_END = mini_sentences.last_end
HEALTHY_INIT, HEALTHY_TAKE, HEALTHY_CUT = Windows.__init__, Windows.take, Windows._cut


def _searched(stack: ExitStack, low: int, last: int) -> None:
    """Let ends be looked for from `last` words before the end down to `low`."""

    def last_end(labels: Sequence[int], of: Any) -> tuple[int, int]:
        comma = -1
        for word in range(len(labels) - 1 - last, low - 1, -1):
            if labels[word] in of.ends:
                return word, comma
            if comma < 0 and labels[word] in of.commas:
                comma = word
        return -1, comma

    exchange(stack, f"{FILE}.last_end", last_end)


def _first_end(labels: Sequence[int], of: Any) -> tuple[int, int]:
    ends = [word for word in range(2, len(labels) - 1) if labels[word] in of.ends]
    return (ends[0], -1) if ends else LAST_END(labels, of)


def _first_comma(labels: Sequence[int], of: Any) -> tuple[int, int]:
    end, _ = LAST_END(labels, of)
    commas = [word for word in range(2, len(labels) - 1) if labels[word] in of.commas]
    return end, commas[0] if commas and end < 0 else -1


def _questions_no_ends(labels: Sequence[int], of: Any) -> tuple[int, int]:
    stop = min(of.ends)
    kept = [label if label not in of.ends or label == stop else of.none for label in labels]
    return LAST_END(kept, of)


def _comma_kept(self: Windows, labels: list[int], logits: Any) -> int:
    return HEALTHY_CUT(self, list(labels), logits)  # what it writes into its copy is lost


def _not_read_again(self: Windows, logits: Any) -> None:
    """Every mini sentence by itself: what has no end yet is let go with the rest."""
    labels = self._labels(logits)
    self.pieces.append(self.start)
    self.labels += labels
    self.last = labels
    self.start = self.stop
    self.stop = min(self.stop + self.size, self.words)


def _last_split_too(self: Windows, logits: Any) -> None:
    """One window more: the last one is cut at its last end as well, and its rest read again (sherpa-onnx)."""
    before = self.start
    if self.stop < self.words:
        HEALTHY_TAKE(self, logits)
        return
    labels = self._labels(logits)
    end, _ = LAST_END(labels, self.of)
    cut = end + 1 if end >= 0 and end + 1 < len(labels) else len(labels)
    self.pieces.append(before)
    self.labels += labels[:cut]
    self.last = labels[:cut]
    self.start += cut


def _old_marks_kept(self: Windows, logits: Any) -> None:
    """Words that are read again keep the mark that they had when they were read first."""
    kept: dict[int, int] = self.__dict__.setdefault("kept", {})
    start, taken = self.start, len(self.labels)
    found = self._labels(logits)
    HEALTHY_TAKE(self, logits)
    for place in range(taken, len(self.labels)):
        self.labels[place] = kept.get(place, self.labels[place])
    for place in range(self.start, start + len(found)):
        kept.setdefault(place, found[place - start])


def _longer(self: Windows, words: int, size: int, *more: Any) -> None:
    HEALTHY_INIT(self, words, size + 1, *more)


def _method(name: str, function: Callable[..., Any]) -> Callable[[Candidate, ExitStack], None]:
    return lambda candidate, stack: exchange(stack, f"{FILE}.Windows.{name}", function)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of windows; every model has its windows at one place."""
    return (
        fault("ends_down_to_1", WINDOWS, "a sentence end looked for down to word 1, not 2 (sherpa-onnx)",
              lambda c, s: _searched(s, 1, 1)),
        fault("ends_down_to_0", WINDOWS, "down to word 0", lambda c, s: _searched(s, 0, 1)),
        fault("ends_from_the_last_word", WINDOWS, "from the last word on, not the last but one",
              lambda c, s: _searched(s, 2, 0)),
        fault("ends_from_two_before", WINDOWS, "from the last word but two on", lambda c, s: _searched(s, 2, 2)),
        fault("first_end", WINDOWS, "cut at the first sentence end, not the last",
              lambda c, s: exchange(s, f"{FILE}.last_end", _first_end)),
        fault("first_comma", WINDOWS, "a long sentence cut at its first comma, not its last",
              lambda c, s: exchange(s, f"{FILE}.last_end", _first_comma), needs=LONG),
        fault("questions_no_ends", WINDOWS, "a question mark does not end a sentence",
              lambda c, s: exchange(s, f"{FILE}.last_end", _questions_no_ends)),
        fault("limit_200_included", WINDOWS, "cut from 200 words on, not from 201 (sherpa-onnx)",
              lambda c, s: exchange(s, f"{FILE}.MOST_WAITING", 199), needs=LONG),
        fault("no_limit", WINDOWS, "a long sentence is never cut at a comma",
              lambda c, s: exchange(s, f"{FILE}.MOST_WAITING", 1 << 30), needs=LONG),
        fault("comma_stays_a_comma", MARKS, "the comma that a long sentence is cut at keeps its mark",
              _method("_cut", _comma_kept), needs=LONG),
        fault("not_read_again", WINDOWS, "what has no end yet is not read again", _method("take", _not_read_again)),
        fault("last_window_split_too", WINDOWS, "the last window is cut at its end, too, and read again (sherpa-onnx)",
              _method("take", _last_split_too)),
        fault("old_marks_kept", MARKS, "words that are read again keep the marks they had first",
              _method("take", _old_marks_kept)),
        fault("mini_sentences_of_21", WINDOWS, "mini sentences of 21 words, not 20",
              lambda c, s: exchange(s, f"{FILE}.Windows.__init__", _longer)),
    )  # fmt: skip
