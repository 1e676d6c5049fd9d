"""The same run on several processes or machines: Ray starts the workers, carries batches to them and notices deaths.

Every worker is a Ray actor (worker.py); which batches it gets, and what becomes of those it dies on, is dispatch.py.
Ray is imported inside functions: only --workers needs it. Must not import mlx, torch or funasr.

Workers are as many as asked for on this machine; on a cluster one per GPU of a node that has GPUs, else one per node
with CPUs (a Mac's GPU serves one). They share their node's CPUs, BLAS threads included. A node that joins later serves
only in place of a lost one. Every node needs this package, and model and audio under the same paths.
"""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mlx_model.errors import DependencyError, MlxFunasrError, UsageError
from mlx_model.files.scratch import scratch
from mlx_model.machine import children
from parity.cer.dispatch import Answers, Batch, Lost, dispatch
from parity.cer.recognizers import Engine, Options, model_sha256
from parity.cer.worker import Job, Worker
from reports.environment import project_version

ANSWER_S = 30.0  # for a cluster to answer; Ray itself would wait for two minutes
CLOSE_S = 5.0  # for workers to delete their temporary files
STORE_BYTES = 100_000_000  # Ray's least is 75 MB, its default a third of the memory; only texts pass through it
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
MOST = 1024  # processes on one machine; more is a slip of the finger
ADDRESS = re.compile(r"auto|(ray://)?(\[[\w:.%]+\]|[\w.-]+):\d+")
PROBE = """\
import sys, ray
try:
    ray.init(sys.argv[1], log_to_driver=False)
except BaseException as error:
    while error.__cause__:
        error = error.__cause__
    text = f"{error}".strip()
    sys.exit(text.splitlines()[-1] if "Traceback" in text else " ".join(text.split()))
"""


class Seat(NamedTuple):
    """Room for one worker."""

    node_id: str
    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """How many threads its products may use."""
        return max(1, int(self.cpus))


def seats(nodes: Iterable[Mapping[str, Any]], count: int | None) -> list[Seat]:
    """Return room for so many workers on every node, or (None) as many as the node's GPUs, else one.

    Nodes are as `ray.nodes()` gives them; more workers than GPUs share these.
    """
    found = []
    for node in nodes:
        cpus, gpus = (int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
        if node["Alive"] and (cpus or gpus):
            workers = count or gpus or 1
            share = 1 / math.ceil(workers / gpus) if gpus else 0
            found += [Seat(node["NodeID"], cpus // workers or cpus / workers, share)] * workers
    return found


class RayWorkers:
    """`dispatch.Workers` by Ray: an actor per seat, an object reference per ticket."""

    def __init__(self, ray: Any, job: Job, room: Sequence[Seat]):
        self.ray, self.job, self.room, self.seats = ray, job, room, len(room)
        self._actors: dict[int, Any] = {}

    def start(self, seat: int) -> Any:
        """Start a worker, on the seat's own node while it lives, else wherever there is room."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = self.room[seat]
        actor = self.ray.remote(Worker).options(
            num_cpus=place.cpus,
            num_gpus=place.gpus,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node_id, soft=True),
            runtime_env={"env_vars": dict.fromkeys(THREADS, str(place.threads))},
        )
        self._actors[seat] = actor.remote()
        return self._actors[seat].open.remote(self.job)

    def send(self, seat: int, batches: Sequence[Batch]) -> Any:
        """Hand a task over."""
        return self._actors[seat].run.remote(batches)

    def first(self, tickets: Iterable[Any], timeout_s: float | None = None) -> tuple[Any, Any] | None:
        """Wait for a ticket.

        Raises:
            UsageError: a node lacks a file that the driver sees.
            MlxFunasrError: the worker's own.
        """
        from ray.exceptions import RayError, RayTaskError

        done, _ = self.ray.wait(list(tickets), timeout=timeout_s)
        if not done:
            return None
        try:
            result = self.ray.get(done[0])
        except RayTaskError as error:  # raised by the worker's own code
            raise error.cause if isinstance(error.cause, MlxFunasrError) else error from None
        except RayError as error:
            return done[0], Lost(_reason(error))
        return done[0], result and _checked(*result)

    def stop(self, seat: int) -> None:
        """Kill the worker."""
        self.ray.kill(self._actors.pop(seat))

    def close(self) -> None:
        """Let workers that are idle clean up; the end of the session ends them all."""
        closed = [actor.close.remote() for actor in self._actors.values()]
        if closed:
            self.ray.wait(closed, num_returns=len(closed), timeout=CLOSE_S)


def _reason(error: Exception) -> str:
    """Return the line of Ray's long explanation that says most."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if line.startswith("The actor is dead because")), lines[-1])[:200]


def _checked(node: str, absent: Sequence[Path], results: list[Answers]) -> list[Answers]:
    """Return the results, unless a file that is missing there is here."""
    for path in absent:
        if path.is_file():
            where = "expected the audio under the same path on every node"
            raise UsageError(f"node {node}: no such file: {path}, but the driver sees it; {where}")
    return results


def open_cluster(engine_name: str, model: str, workers: int | str, options: Options = None) -> Engine:
    """Return the engine that runs on Ray: its workers start with the first batch, and end with the last.

    Args:
        engine_name: see `open_recognizer`.
        model: see `open_recognizer`; the same files on every node.
        workers: that many processes here, by a Ray of our own; or the cluster to use: "auto" (RAY_ADDRESS, or the one
            this machine is part of), "HOST:PORT" (this machine is part of it), "ray://HOST:PORT" (from anywhere).
        options: see `open_recognizer`.

    Raises:
        UsageError: `workers` is none of these; no cluster answers there.
        DependencyError: Ray is not installed.
    """
    check_workers(workers)
    ray = _import_ray()
    if isinstance(workers, str) and not ray.is_initialized():
        _check_answers(workers)
    job = Job(engine_name, model, model_sha256(model), dict(options or {}), project_version(), os.getcwd())

    def engine(batches: Iterable[Batch]) -> Generator[tuple[int, Answers], None, None]:
        with _session(ray, workers):
            room = seats(ray.nodes(), workers if isinstance(workers, int) else None)
            with closing(RayWorkers(ray, job, room)) as crew:
                yield from dispatch(crew, batches)

    return engine


def check_workers(workers: int | str | None) -> None:
    """Raise UsageError where this is neither None, a number of processes nor the address of a cluster."""
    if workers is None or (
        ADDRESS.fullmatch(workers) if isinstance(workers, str) else 1 <= workers <= MOST and workers is not True
    ):
        return
    raise UsageError(
        f"workers {workers!r}; expected a number from 1 on, auto, HOST:PORT or ray://HOST:PORT of a Ray cluster "
        f"(at most {MOST} processes here)"
    )


def _import_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will do by default; it warns of that
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports home otherwise
    try:
        with warnings.catch_warnings(action="ignore"):
            import ray
    except ImportError as error:
        raise DependencyError("several workers need ray: pip install 'mlx-funasr[cluster]'") from error
    return ray


def _check_answers(address: str) -> None:
    """Raise UsageError unless a cluster answers. A child asks: Ray would wait for minutes, and end the process."""
    try:
        if address != "auto":
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        command = [sys.executable, "-P", "-W", "ignore", "-c", PROBE, address]
        code, _, errors = children.run(command, timeout_s=ANSWER_S)
        if code == 0:
            return
        reason = (errors.strip().splitlines() or ["no reason given"])[-1][:300]
    except (OSError, OverflowError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"not within {ANSWER_S:.0f} s (or it wants RAY_AUTH_MODE=token)"
    raise UsageError(
        f"no Ray cluster answers at {address}: {reason}; start one (ray start --head), or give a number to run here"
    )


@contextmanager
def _session(ray: Any, workers: int | str) -> Iterator[None]:
    """Ray is connected, and quiet: stdout is for --json. A connection of the caller's own is used, and left open."""
    if ray.is_initialized():
        if isinstance(workers, int):
            raise UsageError("this process is connected to a Ray already; expected workers 'auto', to use it")
        yield
        return
    options: dict[str, Any] = {"address": workers}
    with ExitStack() as stack:
        if isinstance(workers, int):
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            folder = stack.enter_context(
                scratch("r", Path(os.environ.get("RAY_TMPDIR", "/tmp")), short=True)
            )  # short: sockets
            stack.enter_context(children.marked())  # Ray's daemons are ours
            options = {"address": "local", "num_cpus": max(workers, cores), "object_store_memory": STORE_BYTES}
            options |= {"include_dashboard": False, "_temp_dir": str(folder)}
        calm = stack.enter_context(_tamed(ray))
        stack.callback(ray.shutdown)
        try:
            with warnings.catch_warnings(action="ignore"):
                ray.init(**options, log_to_driver=False, logging_level="CRITICAL")
        except OSError as error:  # a path too long for a socket
            reason = error.strerror or str(error)
            raise UsageError(f"Ray cannot start: {reason}; set RAY_TMPDIR to a folder of a short name") from error
        calm()
        yield


@contextmanager
def _tamed(ray: Any) -> Iterator[Callable[[], object]]:
    """Ray prints no deaths on stdout, and what is to be called gives SIGTERM back (it has a setting for neither).

    Its own handlers, one in Python and one below it, would print stacks and abort.
    """
    utils = ray._private.utils
    setting, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    before = signal.getsignal(signal.SIGTERM)
    in_charge = threading.current_thread() is threading.main_thread() and before is not None
    ray._private.worker._worker_logs_enabled = False  # as its debugger does
    try:
        yield lambda: in_charge and signal.signal(signal.SIGTERM, before)
    finally:
        ray._private.worker._worker_logs_enabled = True
        utils.set_sigterm_handler = setting
        if in_charge:
            signal.signal(signal.SIGTERM, before)
