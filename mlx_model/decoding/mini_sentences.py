"""How a text is read in windows: mini sentences, behind what of the last one has no end yet. Numbers alone; no model.

Mirrors the loop of funasr/models/ct_transformer/model.py::CTTransformer.inference, which
funasr/models/ct_transformer_streaming/model.py repeats. A window of labels ends at its last sentence end that is not
its last word; what comes behind is read again, with more behind it. Where more than 200 words wait for an end, the
last comma becomes one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mlx_model.text.punctuated import Labels

MOST_WAITING = 200  # words without a sentence end; FunASR's cache_pop_trigger_limit
MOST_READ = 400  # words in a window; where FunASR knows no end


class Windows:
    """One text on its way: `start` to `stop` is the window to be labelled next; `take` its logits; `done` at the end.

    Where FunASR finds neither an end nor a comma its window grows with the text, and the time with its cube; `bounded`
    lets go of the words before the place where a mark was likeliest, unmarked, as soon as there are MOST_READ.

    Args:
        words: how many there are.
        size: words of a mini sentence.
        labels: what labels mean.
        forced: {word: label} where it is known already.
    """

    def __init__(self, words: int, size: int, labels: Labels, forced: dict[int, int] | None = None):
        self.words, self.size, self.of = words, size, labels
        self.start, self.stop = 0, min(size, words)
        self.labels: list[int] = []
        self.pieces: list[int] = []  # where the pieces begin that were let go one after the other
        self.last: list[int] = []  # labels of the last window
        self.forced = forced or {}

    @property
    def done(self) -> bool:
        """Whether all words have their labels."""
        return self.start == self.words

    def take(self, logits: Float[np.ndarray, "T P"]) -> None:
        """Take what the network says of the window, and go on to the next one."""
        labels = self._labels(logits)
        cut = len(labels) if self.stop == self.words else self._cut(labels, logits) + 1
        if cut:
            self.pieces.append(self.start)
        self.labels += labels[:cut]
        self.last = labels[:cut]
        self.start += cut
        self.stop = min(self.stop + self.size, self.words)

    def _labels(self, logits: Float[np.ndarray, "T P"]) -> list[int]:
        if self.of.never:
            logits = logits.copy()
            logits[:, list(self.of.never)] = -np.inf
        labels: list[int] = logits.argmax(axis=-1).tolist()
        for word in range(self.start, self.stop) if self.forced else ():
            labels[word - self.start] = self.forced.get(word, labels[word - self.start])
        return labels

    def _cut(self, labels: list[int], logits: Float[np.ndarray, "T P"]) -> int:
        """Return the last word that is let go, -1 for none; a comma that was made an end is one in `labels`."""
        end, comma = last_end(labels, self.of)
        if end >= 0 or len(labels) <= MOST_WAITING:
            return end
        if comma >= 0:
            labels[comma] = self.of.end
            return comma
        if not self.of.bounded or len(labels) < MOST_READ:
            return -1
        marks = [label for label in range(logits.shape[1]) if label not in (self.of.none, *self.of.never)]
        likely = logits[2:-1, marks].max(axis=1) - logits[2:-1, self.of.none]
        return 2 + int(likely.argmax())


def last_end(labels: Sequence[int], of: Labels) -> tuple[int, int]:
    """Return where the last sentence end and the last comma behind it are; -1 for none.

    Neither the first two words nor the last one count.
    """
    comma = -1
    for word in range(len(labels) - 2, 1, -1):
        if labels[word] in of.ends:
            return word, comma
        if comma < 0 and labels[word] in of.commas:
            comma = word
    return -1, comma


def padded(windows: Sequence[Int[np.ndarray, " _"]]) -> Int[np.ndarray, "B T"]:
    """Return windows of ids side by side, zeros behind the shorter ones."""
    rows = np.zeros((len(windows), max(map(len, windows))), np.int32)
    for row, window in zip(rows, windows, strict=True):
        row[: len(window)] = window
    return rows
