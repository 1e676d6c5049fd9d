"""Batches given to workers that die: a crew without processes, and what must hold whatever happens to it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.errors import MlxFunasrError
from parity.cer import dispatch
from parity.cer.datasets import Utterance
from parity.cer.dispatch import DEATHS, GROUP, HOPELESS, WINDOW, Lost

GIVEN_UP = "the worker died 3 times on this batch"


def utterance(name: str) -> Utterance:
    return Utterance(utt_id=name, path=Path(name), text="")


def plan(count: int) -> list[list[Utterance]]:
    return [[utterance(f"{number}a"), utterance(f"{number}b")] for number in range(count)]


def said(batch: Sequence[Utterance]) -> list[dict[str, Any]]:
    return [{"text": item.utt_id, "duration_s": 1.0, "error": None} for item in batch]


class Crew:
    """`dispatch.Workers` without processes: what a worker does happens when its ticket is asked for.

    A worker dies on a batch that holds an utterance in `poison`, on the tasks in `accidents` (counted over all), and,
    in seats from `broken` on, when it starts; answers of it that nobody has fetched are lost. Workers do `ahead` tasks
    before one is fetched. `late` starts are never due.
    """

    def __init__(self, seats: int, poison: Iterable[str] = (), accidents: Iterable[int] = (), broken: int = 99):
        self.seats, self.poison, self.accidents, self.broken = seats, set(poison), set(accidents), broken
        self.order = lambda tickets: tickets[0]
        self.late, self.ahead = False, 0
        self.desks: dict[int, dict[int, Any]] = {}  # seat -> ticket -> batches (None: its start), of the living
        self.come: dict[int, Any] = {}
        self.seat_of: dict[int, int] = {}
        self.tickets, self.tasks, self.fullest = 0, 0, 0
        self.did: Counter[str] = Counter()

    def _ticket(self, seat: int, batches: Any) -> int:
        self.tickets += 1
        self.seat_of[self.tickets] = seat
        if seat in self.desks:
            self.desks[seat][self.tickets] = batches
            self.fullest = max(self.fullest, len(self.desks[seat]))
        else:
            self.come[self.tickets] = Lost("it was dead already")
        return self.tickets

    def start(self, seat: int) -> int:
        self.desks[seat] = {}
        self.did["starts"] += 1
        return self._ticket(seat, None)

    def send(self, seat: int, batches: Any) -> int:
        return self._ticket(seat, batches)

    def stop(self, seat: int) -> None:
        for ticket in self.desks.pop(seat, {}):
            self.come[ticket] = Lost("killed")

    def first(self, tickets: Iterable[int], timeout_s: float | None = None) -> tuple[int, Any] | None:
        asked = list(tickets)
        if self.late:
            assert timeout_s is not None  # nobody may wait for ever for a worker that never comes
            return None
        for _ in range(self.ahead):
            self._step()
        while not any(ticket in self.come for ticket in asked):
            self._step()
        ticket = self.order([ticket for ticket in asked if ticket in self.come])
        return ticket, self.come.pop(ticket)

    def _step(self) -> None:
        if busy := [seat for seat, desk in self.desks.items() if desk]:
            seat = self.order(busy)
            ticket = next(iter(self.desks[seat]))
            self._do(seat, ticket, self.desks[seat][ticket])

    def _do(self, seat: int, ticket: int, batches: Any) -> None:
        if batches is None:
            dies = seat >= self.broken
        else:
            self.tasks += 1
            dies = self.tasks in self.accidents or any(item.utt_id in self.poison for part in batches for item in part)
        if dies:
            self.did["deaths"] += 1
            self.stop(seat)
            self.come |= {other: Lost("unsent") for other in self.come if self.seat_of[other] == seat}
        else:
            self.come[ticket] = batches and [said(batch) for batch in batches]
            del self.desks[seat][ticket]


def run(crew: Crew, batches: Iterable[Sequence[Utterance]]) -> dict[int, list[dict[str, Any]]]:
    """Return the answers by number, each number having come once."""
    found: dict[int, list[dict[str, Any]]] = {}
    for number, answers in dispatch.dispatch(crew, batches):
        assert number not in found
        found[number] = answers
    return found


def test_every_batch_is_answered_once_by_as_few_workers_as_there_are_tasks_for():
    crew = Crew(seats=5)
    assert run(crew, plan(2 * GROUP + 1)) == dict(enumerate(map(said, plan(2 * GROUP + 1))))
    assert crew.did == {"starts": 3}
    assert run(Crew(seats=5), []) == {}


def test_batches_are_taken_from_the_plan_only_as_others_are_answered():
    taken: list[int] = []

    def endless() -> Iterator[list[Utterance]]:
        while True:
            taken.append(len(taken))
            yield [utterance(str(len(taken)))]

    crew = Crew(seats=3)
    answers = dispatch.dispatch(crew, endless())
    for answered in range(1, 200):
        next(answers)
        # at three workers, plus the task that is being handed out, plus the one that is looked at next
        assert len(taken) - answered < (3 * WINDOW + 2) * GROUP
    assert crew.fullest == WINDOW


def test_a_batch_that_kills_its_workers_is_given_up_alone():
    crew = Crew(seats=2, poison=["5a"])
    found = run(crew, plan(20))
    assert [answer["error"] for answer in found.pop(5)] == [GIVEN_UP, GIVEN_UP]
    assert found == {number: said(batch) for number, batch in enumerate(plan(20)) if number != 5}
    assert crew.did["deaths"] == DEATHS


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(0, 60),
    seats=st.integers(1, 4),
    poison=st.sets(st.integers(0, 59), max_size=3),
    accidents=st.sets(st.integers(2, 30), max_size=6),
    ahead=st.integers(0, 3),
    choices=st.randoms(use_true_random=False),
)
def test_whatever_dies_every_batch_is_answered_once(count, seats, poison, accidents, ahead, choices):
    crew = Crew(seats, {f"{number}b" for number in poison}, accidents)
    crew.order, crew.ahead = choices.choice, ahead
    found = run(crew, plan(count))
    assert found.keys() == set(range(count))
    given_up = {number for number, answers in found.items() if answers[0]["error"]}
    assert poison & set(range(count)) <= given_up
    assert crew.fullest <= WINDOW
    # A batch is blamed for what it was at work on only: without accidents, nobody else's is ever given up.
    assert accidents or given_up == poison & set(range(count))
    assert accidents or crew.did["deaths"] <= (DEATHS + 1) * len(poison)  # one more: when the one before was blamed
    assert all(answers == said(plan(count)[number]) for number, answers in found.items() if number not in given_up)


def test_workers_that_cannot_start_leave_the_work_to_others():
    crew = Crew(seats=4, broken=1)
    crew.order = lambda tickets: tickets[-1]
    assert len(run(crew, plan(40))) == 40
    assert crew.did == {"starts": 1 + 3 * DEATHS, "deaths": 3 * DEATHS}


def test_no_worker_left_is_an_error_that_says_why():
    with pytest.raises(MlxFunasrError, match=r"none could be started \(unsent\).*give the same command again"):
        run(Crew(seats=2, broken=0), plan(40))
    crew = Crew(seats=2)
    crew.late = True
    for without in (crew, Crew(seats=0)):
        with pytest.raises(MlxFunasrError, match=r"none could be started \(no node has a CPU or GPU free\)"):
            run(without, plan(40))


def test_workers_that_die_whatever_they_get_do_not_fill_the_journal_with_failures():
    crew = Crew(seats=2, accidents=range(10**4))
    with pytest.raises(MlxFunasrError, match=f"died {HOPELESS} times and answered nothing"):
        run(crew, plan(10**3))
    assert crew.did["deaths"] == HOPELESS
