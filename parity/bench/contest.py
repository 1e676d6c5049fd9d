"""The live sides of one run, all asked in turn, and the reason of each that is absent. A peer that fails drops out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from parity.bench.exports import Exports
from parity.bench.findings import Answer
from parity.bench.jobs import TRANSCRIBE
from parity.bench.peers import OURS, missing
from parity.bench.plan import Plan
from parity.bench.rounds import Rounds, interleave
from parity.bench.sides import Side, SideError, child_environment


class Contest:
    """One child per peer, from entering to `close`.

    `absent` says why a peer is not here (any more), `facts` what each said about itself, `paths` what each loaded;
    `where` stands before the reason of one that fails from now on. `device` is the kind, cpu or gpu, that our own
    side computes on, `job` what it does with files; it starts first, so that the others are held against it on the same
    kind.
    """

    def __init__(self, plan: Plan, exports: Exports):
        self.plan, self.exports = plan, exports
        self.peers = {peer.name: peer for peer in plan.peers}
        self.sides: dict[str, Side] = {}
        self.absent: dict[str, str] = {}
        self.facts: dict[str, Answer] = {}
        self.paths: dict[str, Path | str] = {}
        self.where, self.device, self.job = "", "cpu", TRANSCRIBE

    def __enter__(self) -> Contest:
        try:
            self.facts = self.each(self.peers, self._start)
        except BaseException:
            self.close(at_once=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool = False) -> None:
        """End all children; `at_once` does not let them finish what they are at."""
        while self.sides:
            self.sides.popitem()[1].close(at_once=at_once)

    def log(self, name: str) -> Path:
        """Return where a child's talk goes."""
        return self.exports.log.with_name(f"{name}.log")

    def _start(self, name: str) -> Answer:
        peer, threads = self.peers[name], self.plan.threads
        if reason := missing(peer, self.device, self.job):
            raise SideError(name, reason)
        self.paths[name] = self.plan.model if name == OURS else self.exports.path(peer)
        how = [str(threads), self.device, self.plan.precision_of(peer), *map(str, self.plan.dropped)]
        command = [sys.executable, "-m", "parity.bench.serve", name, str(self.paths[name]), *how]
        self.sides[name] = Side(name, command, child_environment(threads), self.log(name))
        facts = self.sides[name].ask(do="facts")
        if name == OURS:
            self.device, self.job = facts["device"], facts["job"]
        return facts

    def drop(self, error: SideError) -> None:
        """Take a peer out of the run, with its reason.

        Raises:
            SideError: it is this project's own side, without which there is no bench.
        """
        if error.side == OURS:
            raise error
        if (side := self.sides.pop(error.side, None)) is not None:
            with suppress(OSError):
                side.close()
        self.absent[error.side] = f"{self.where}: {error.reason}" if self.where else error.reason

    def able(self, audio_s: float) -> list[str]:
        """Return the living sides that take part in a case with so much audio."""
        return [name for name in self.sides if audio_s <= self.peers[name].most_audio_s]

    def each(self, names: Iterable[str], turn: Callable[[str], Answer]) -> dict[str, Answer]:
        """Return what `turn` gave for each side, one after the other; those that fail drop out."""
        found = {}
        for name in names:
            try:
                found[name] = turn(name)
            except SideError as error:
                self.drop(error)
        return found

    def ask_each(self, names: Iterable[str], **request: Any) -> dict[str, Answer]:
        """Return each living side's answer to the same request."""
        return self.each(names, lambda name: self.sides[name].ask(**request))

    def rounds(self, names: Iterable[str], rounds: int, turn: Callable[[str], Answer]) -> Rounds[Answer]:
        """Return what `turn` gave in interleaved rounds; where a peer fails, the others start again without it."""
        while True:
            turns = {name: (lambda name=name: turn(name)) for name in names if name not in self.absent}
            try:
                return interleave(turns, rounds, [side.child.pid for side in self.sides.values()])
            except SideError as error:
                self.drop(error)
