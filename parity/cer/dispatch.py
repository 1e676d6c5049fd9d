"""Batches -> workers that may die -> answers, each batch's exactly once. No Ray here: distributed.py has the workers.

A task is a few consecutive batches. A worker holds at most WINDOW of them, and new ones are taken from the plan only
as old ones are answered. What a dead worker held goes to others; a batch on which workers keep dying is given up.
Stdlib and mlx_model.errors only.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlx_model.errors import MlxFunasrError
from parity.cer.readers.testset import Utterance

GROUP = 4  # batches in a task: a worker decodes the next batch ahead, but not across tasks
WINDOW = 2  # tasks at a worker: one at work, one on its desk, so that it never waits for the driver
DEATHS = 3  # workers that a batch may cost, and starts in a row that a seat may fail
HOPELESS = 10  # deaths before the first answer of all: not the batches' fault, and no reason to give them all up
PATIENCE_S = 300.0  # without any worker: for a model to load, or a cluster to find room

Answers = list[dict[str, Any]]
Batch = Sequence[Utterance]


@dataclass(frozen=True, slots=True)
class Lost:
    """What comes of a task in place of answers: its worker is gone, and why."""

    reason: str


class Workers(Protocol):
    """Starts workers, carries tasks to them and answers back. A worker answers its tasks in the order they came.

    `seats` is how many workers there is room for. `start` and `send` return a ticket at once; `start`'s is due when the
    model is loaded. `first` waits for one of the tickets: None after `timeout_s`, else the ticket and what came of it.
    `stop` makes sure that the worker is dead, so that all its tickets are due.
    """

    seats: int

    def start(self, seat: int) -> Any: ...  # noqa: D102  the class says it
    def send(self, seat: int, batches: Sequence[Batch]) -> Any: ...  # noqa: D102
    def first(self, tickets: Iterable[Any], timeout_s: float | None = None) -> tuple[Any, Any] | None: ...  # noqa: D102
    def stop(self, seat: int) -> None: ...  # noqa: D102


@dataclass(slots=True)
class _Task:
    batches: list[tuple[int, Batch]]
    deaths: int = 0  # of workers that were at work on it


def dispatch(workers: Workers, batches: Iterable[Batch]) -> Iterator[tuple[int, Answers]]:
    """Yield each batch's number and answers as they come, in any order.

    Raises:
        MlxFunasrError: no worker is left, or workers die whatever they are given; and what a worker raises.
    """
    numbered = enumerate(batches)
    groups = iter(lambda: list(itertools.islice(numbered, GROUP)), [])
    yield from _Dispatch(workers, (_Task(group) for group in groups)).run()


class _Dispatch:
    def __init__(self, workers: Workers, fresh: Iterator[_Task]):
        self.workers, self.fresh = workers, fresh
        self.waiting = deque(itertools.islice(fresh, workers.seats))  # few tasks do not need all workers
        self.suspects: deque[_Task] = deque()  # held by a worker that died: last, so that they hold up nobody
        self.held: dict[Any, tuple[int, _Task | None]] = {}  # ticket -> seat and task (None: a start), oldest first
        self.ready: set[int] = set()
        self.failed_starts: Counter[int] = Counter()
        self.answered, self.deaths, self.reason = False, 0, "no node has a CPU or GPU free"

    def run(self) -> Iterator[tuple[int, Answers]]:
        for seat in range(min(self.workers.seats, len(self.waiting))):
            self._start(seat)
        while self._fill() or self._left():
            patience_s = None if any(task for _, task in self.held.values()) else PATIENCE_S
            due = self.workers.first(self.held, patience_s) if self.held else None
            if due is None:
                raise MlxFunasrError(
                    f"no worker is left, and none could be started ({self.reason}); what was answered is kept: "
                    "mend that, and give the same command again"
                )
            ticket, outcome = due
            if isinstance(outcome, Lost):
                yield from self._lost(ticket, outcome)
            else:
                yield from self._came(*self.held.pop(ticket), outcome)

    def _start(self, seat: int) -> None:
        self.held[self.workers.start(seat)] = (seat, None)

    def _left(self) -> bool:
        """Return whether a task waits to be given to a worker."""
        if not self.waiting:
            self.waiting.extend(itertools.islice(self.fresh, 1))
        return bool(self.waiting or self.suspects)

    def _fill(self) -> bool:
        """Give out tasks, to the emptiest desk first; return whether any is at work.

        A suspect gets a desk to itself: a worker that dies at once takes along the answer it has just given, and the
        wrong task would be blamed.
        """
        desks = Counter(seat for seat, task in self.held.values() if task)
        while self.ready and self._left():
            seat = min(self.ready, key=lambda seat: desks[seat])
            if desks[seat] >= (WINDOW if self.waiting else 1):
                break
            task = (self.waiting or self.suspects).popleft()
            self.held[self.workers.send(seat, [batch for _, batch in task.batches])] = (seat, task)
            desks[seat] += 1
        return bool(desks)

    def _came(self, seat: int, task: _Task | None, outcome: Any) -> Iterator[tuple[int, Answers]]:
        if task is None:
            self.ready.add(seat)
            self.failed_starts[seat] = 0
            return
        self.answered = True
        yield from zip((number for number, _ in task.batches), outcome, strict=True)

    def _lost(self, lost: Any, outcome: Lost) -> Iterator[tuple[int, Answers]]:
        """Pass on what a dead worker held, and start another; the oldest unanswered task is what it died on."""
        seat = self.held[lost][0]
        self.workers.stop(seat)
        self.ready.discard(seat)
        self.reason, blamed = outcome.reason, False
        for ticket in [ticket for ticket, (holder, _) in self.held.items() if holder == seat]:
            task = self.held.pop(ticket)[1]
            due = (lost, outcome) if ticket == lost else self.workers.first([ticket])
            if task is None:
                self.failed_starts[seat] += 1
            elif due is not None and not isinstance(due[1], Lost):
                yield from self._came(seat, task, due[1])
            elif blamed:
                self.suspects.append(task)
            else:
                blamed = True
                yield from self._blame(task)
        if self.failed_starts[seat] < DEATHS:
            self._start(seat)

    def _blame(self, task: _Task) -> Iterator[tuple[int, Answers]]:
        """Give up a task after DEATHS; before that its batches are tried one by one, so that one does not cost all."""
        self.deaths += 1
        if not self.answered and self.deaths >= HOPELESS:
            raise MlxFunasrError(f"the workers died {self.deaths} times and answered nothing (last: {self.reason})")
        if task.deaths + 1 < DEATHS:
            self.suspects.extend(_Task([batch], task.deaths + 1) for batch in task.batches)
            return
        error = f"the worker died {DEATHS} times on this batch"
        for number, batch in task.batches:
            yield number, [{"text": None, "duration_s": None, "error": error} for _ in batch]
