"""What runs on a node, and real Ray, whose drivers run in processes of their own.

`python test_cer_distributed.py SCENARIO ...` is such a driver. No ../shared.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import parity.cer
from mlx_model.errors import DependencyError, UsageError
from parity.cer import dispatch, distributed, worker
from parity.cer.datasets import Utterance
from parity.cer.dispatch import Lost
from parity.cer.distributed import Seat, open_cluster, seats
from parity.cer.recognizers import model_sha256
from parity.cer.worker import Job, Worker
from parity.demo import SPEECH
from reports.environment import project_version

ROOT = Path(__file__).resolve().parents[3]
GIVEN_UP = "the worker died 3 times on this batch"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (extra cluster)")


@pytest.fixture(scope="module", autouse=True)
def ray_settings() -> Iterator[None]:
    """A token for Ray, or it would make one in the home directory, and a short folder: what is killed leaves files."""
    options: Any = {"prefix": "mfr-", "dir": "/tmp", "ignore_cleanup_errors": True}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(**options) as folder:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for name in ("TMPDIR", "RAY_TMPDIR"):
            patch.setenv(name, folder)
        yield


def utterance(name: str) -> Utterance:
    return Utterance(utt_id=name, path=Path(name), text="")


def plan(count: int) -> list[list[Utterance]]:
    return [[utterance(f"{number}a"), utterance(f"{number}b")] for number in range(count)]


def said(batch: Sequence[Utterance]) -> list[dict[str, Any]]:
    return [{"text": item.utt_id, "duration_s": 1.0, "error": None} for item in batch]


# ---- what runs on a node


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The names of the models that were opened and, as "call", how often the recogniser was called."""
    seen: list[str] = []

    def opened(engine: str, model: str, options: object) -> Any:
        seen.append(f"{engine} {Path(model).name}")

        def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[list[dict[str, Any]]]:
            seen.append("call")
            for paths in batches:
                yield [{"path": str(path), "text": path.stem, "duration_s": 2.0, "error": None} for path in paths]

        return recognize

    monkeypatch.setattr(worker, "open_recognizer", opened)
    return seen


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The driver's folder, with a model in it and the audio of utterances a, b, c."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    for name in "abc":
        (tmp_path / name).touch()
    return tmp_path


def job(engine: str = "mlx", **changed: Any) -> Job:
    return Job(engine, "model", model_sha256("model"), {}, project_version(), os.getcwd())._replace(**changed)


@pytest.mark.parametrize(("engine", "times"), [("mlx", 2), ("funasr", 1)])
def test_a_worker_opens_the_model_once_and_funasr_is_called_once(folder, calls, engine, times):
    with closing(Worker()) as here:
        here.open(job(engine))
        first = here.run([[utterance("a"), utterance("missing")], [utterance("b")]])
        second = here.run([[utterance("c")]])
    assert calls == [f"{engine} model", *["call"] * times]
    node, absent, results = first
    assert (node, absent) == (socket.gethostname(), [Path("missing")])
    assert [[answer["text"] for answer in answers] for answers in results] == [["a", None], ["b"]]
    assert results[0][1]["error"] == "no such file: missing"
    assert results[0][0]["rtf"] > 0
    assert results[0][1]["rtf"] is None
    assert second[2][0][0]["text"] == "c"


def test_a_node_with_another_model_or_version_says_so(folder, calls, monkeypatch):
    node = f"^node {socket.gethostname()}: "
    with pytest.raises(UsageError, match=rf"{node}{folder}/gone does not exist; expected the same model"):
        Worker().open(job(model="gone"))
    with pytest.raises(UsageError, match=rf"{node}{folder}/model holds other files than on the driver"):
        Worker().open(job(model_sha256="0"))
    with pytest.raises(UsageError, match=rf"{node}mlx-funasr .* is installed, but 0\.0 on the driver"):
        Worker().open(job(version="0.0"))
    assert calls == []


def test_relative_paths_start_where_the_driver_is(folder, calls, monkeypatch):
    wanted = job()
    monkeypatch.chdir("/")
    with closing(Worker()) as here:
        here.open(wanted)
        assert here.run([[utterance("a")]])[1] == []


def test_audio_that_only_the_driver_sees_is_an_error_and_else_a_failed_utterance(folder):
    with pytest.raises(UsageError, match="node far: no such file: a, but the driver sees it; expected the audio"):
        distributed._checked("far", [Path("missing"), Path("a")], [])
    assert distributed._checked("far", [Path("missing")], [[{}]]) == [[{}]]


# ---- Ray


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "Alive": alive, "Resources": {"memory": 1e9, **resources}}


def test_seats_are_one_per_gpu_else_one_per_node_and_share_its_cores():
    cluster = [
        node("mac", CPU=10.0),
        node("gpus", CPU=16.0, GPU=4.0),
        node("thin", CPU=2.0, GPU=4.0),
        node("head", CPU=0.0),
        node("dead", False, CPU=8.0),
        node("bare", GPU=1.0),
    ]
    assert seats(cluster, None) == [
        Seat("mac", 10, 0),
        *[Seat("gpus", 4, 1)] * 4,
        *[Seat("thin", 0.5, 1)] * 4,
        Seat("bare", 0, 1),
    ]
    assert [seat.threads for seat in seats(cluster, None)][::4] == [10, 4, 1]
    assert seats([node("here", CPU=8.0)], 3) == [Seat("here", 2, 0)] * 3
    assert seats([node("here", CPU=8.0, GPU=2.0)], 4) == [Seat("here", 2, 0.5)] * 4
    assert seats([node("here", CPU=8.0, GPU=2.0)], 5) == [Seat("here", 1, 1 / 3)] * 5


@pytest.mark.parametrize("workers", [0, -1, "", "many", "host", "http://host:1", "ray://host", "ray://host:1/x", ":1"])
def test_what_is_no_number_and_no_address_is_refused(workers):
    with pytest.raises(UsageError, match=r"expected a number from 1 on, auto, HOST:PORT or ray://HOST:PORT"):
        open_cluster("mlx", "model", workers)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"pip install 'mlx-funasr\[cluster\]'"):
        open_cluster("mlx", "model", 2)


@needs_ray
def test_where_no_cluster_answers_one_line_says_so_soon(monkeypatch):
    monkeypatch.setattr(distributed, "ANSWER_S", 2.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"no Ray cluster answers at {address}: Connection refused; start one"):
            open_cluster("mlx", "model", address)
        silent.listen()
        for form in (address, f"ray://{address}"):
            with pytest.raises(UsageError, match=rf"no Ray cluster answers at {form}: not within 2 s"):
                open_cluster("mlx", "model", form)


def driver(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a scenario below, as a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300, **options)


class Mortal:
    """A worker whose process ends at an utterance called poison."""

    def open(self, job: Job) -> None: ...

    def close(self) -> None: ...

    def run(self, batches: Sequence[Sequence[Utterance]]) -> tuple[str, list[Path], list[list[dict[str, Any]]]]:
        if any(item.utt_id == "poison" for batch in batches for item in batch):
            os._exit(1)
        return "here", [], [said(batch) for batch in batches]


def mortal_workers() -> None:
    """Scenario: two local workers, of which every one dies that gets the seventh of 30 batches."""
    distributed.Worker = Mortal  # type: ignore[misc]
    batches = plan(30)
    batches[7][1] = utterance("poison")
    found = sorted(open_cluster("mlx", "model", 2)(batches))
    print(json.dumps(found))


@needs_ray
@pytest.mark.slow
def test_real_processes_that_die_are_replaced():
    done = driver("mortal_workers")
    assert (done.returncode, done.stderr) == (0, "")
    found = dict(json.loads(done.stdout))  # nothing else stands on stdout
    assert [answer["error"] for answer in found.pop(7)] == [GIVEN_UP, GIVEN_UP]
    assert found == {number: said(batch) for number, batch in enumerate(plan(30)) if number != 7}


def two_nodes(model: str, out: str) -> None:
    """Scenario: a cluster of two nodes; the second one dies once something is in the journal."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    lost: list[int] = []
    of_lost, of_fill = dispatch._Dispatch._lost, dispatch._Dispatch._fill

    def fill(self: Any) -> bool:
        # No work before both are ready: a loaded machine's second would find nothing left, and nobody would miss it.
        return (second is None or len(self.ready) == 2) and of_fill(self)

    def counted(self: Any, ticket: Any, outcome: Lost) -> Any:
        lost.append(self.held[ticket][0])
        return of_lost(self, ticket, outcome)

    def progress(done: int, total: int, rate: float) -> None:
        nonlocal second
        if second is not None and done:
            cluster.remove_node(second, allow_graceful=False)
            second, lost[:] = None, []
            print(done, total)

    dispatch._Dispatch._lost, dispatch._Dispatch._fill = counted, fill  # type: ignore[method-assign]
    parity.cer.evaluate(model, SPEECH, workers=cluster.address, out=out, batch_seconds=3.0, progress=progress)
    cluster.shutdown()
    print(len(lost))


@pytest.fixture(scope="module")
def here(converted, tmp_path_factory) -> Path:
    """A run by the local engine."""
    out = tmp_path_factory.mktemp("runs") / "here"
    parity.cer.evaluate(converted, SPEECH, out=out, batch_seconds=3.0)
    return out


def assert_same(out: Path, here: Path) -> None:
    """All bytes are the same, but for times, the driver's lack of MLX, and clips (Ogg numbers streams at random).

    And for numerics: a worker has other threads, and this process may have loaded MLX before our BLAS.
    """
    for name in ("utterances.jsonl", "hyp.txt", "ref.txt"):
        assert (out / name).read_bytes() == (here / name).read_bytes()
    reports = [json.loads((folder / "cer.json").read_text("utf-8")) for folder in (out, here)]
    for report in reports:
        for name in ("wall_s", "rtf", "rtf_bins"):
            assert report.pop(name)
        for name in ("time_utc", "mlx_device", "mlx_enable_tf32"):
            del report["environment"][name]
        assert report.pop("numerics")["float32"] == "exact"
        assert all(row.pop("audio").startswith("data:audio/ogg") for row in report["worst"] if row["audio"])
    assert reports[0] == reports[1]
    entries = [json.loads(line) for line in (out / "journal.jsonl").read_text("utf-8").splitlines()[1:]]
    assert Counter(entry["utt_id"] for entry in entries).most_common(1)[0][1] == 1
    assert len(entries) == reports[0]["utterances"] == 40


@needs_ray
@pytest.mark.slow
def test_a_node_that_dies_half_way_changes_nothing(converted, here, tmp_path):
    done = driver("two_nodes", converted, tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    at, total, deaths = map(int, done.stdout.split())
    assert 0 < at < total == 40
    assert deaths >= 1  # its worker was missed
    assert_same(tmp_path / "run", here)


def processes_of(session: int) -> list[str]:
    """Return the commands of the living processes of a session, which Ray's are, too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


@needs_ray
@pytest.mark.slow
def test_a_run_that_was_interrupted_and_then_killed_goes_on(converted, here, tmp_path):
    out = tmp_path / "run"
    script = (
        "import signal, sys, time, parity.cer\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job inherits it ignored
        "def slowly(done, total, rate): time.sleep(0.5 * (done > 0))\n"
        f"parity.cer.evaluate({str(converted)!r}, {str(SPEECH)!r}, workers=2, out={str(out)!r}, batch_seconds=3.0,\n"
        "    progress=slowly if sys.argv[1] == 'slowly' else None)\n"
    )
    command = [sys.executable, "-c", script]
    answered = 1
    for number in (signal.SIGINT, signal.SIGKILL):
        child = subprocess.Popen(
            [*command, "slowly"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        lines = answered
        while lines < answered + 5 and child.poll() is None:
            time.sleep(0.1)
            lines = (out / "journal.jsonl").read_bytes().count(b"\n") if (out / "journal.jsonl").exists() else 1
        child.send_signal(number)
        printed, talk = child.communicate(timeout=60)
        assert (printed, child.returncode) == (b"", -number)
        assert number == signal.SIGKILL or not processes_of(child.pid)
        assert number == signal.SIGKILL or talk.strip().splitlines()[-1] == b"KeyboardInterrupt"
        answered = lines
    assert answered > 10
    done = subprocess.run([*command, "on"], cwd=ROOT, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert_same(out, here)


def test_importing_loads_no_ray():
    code = "import sys, parity.cer.distributed; print({'ray', 'mlx', 'torch', 'funasr'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
