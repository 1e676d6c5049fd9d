"""FSMN-VAD under `parity`: healthy models pass, whole and in chunks; faults are named. Oracle: FunASR itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convert
from mlx_model.engines import cpu_engine
from mlx_model.machine.device import few_cores
from parity import families
from parity.decisions.decision import decision
from parity.families.fsmn_vad_streaming import FAMILY, cases
from parity.families.fsmn_vad_streaming.decisions import Side, follow
from parity.families.fsmn_vad_streaming.frames import CHUNKS_MS, COLUMNS, merged, table, transitions
from parity.layers.columns import in_force
from parity.layers.run import check, record, run
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.conftest import speech_like
from tests.mlx_model.vad_models import write_vad

FAULTS = FAMILY.seeded()
IN_THE_NETWORK = ("kernel_reversed", "cache_not_carried")
SEEDED = (*IN_THE_NETWORK, "above_the_threshold", "frame_longer", "rest_lost", "two_frames_more")
IN_THE_ENGINE = ("engine_recall_gain", "engine_tail")
ENGINES = [name for name, there in (("CPU engine", cpu_engine.available()), ("lanes", few_cores())) if there]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random FSMN-VAD's conversion; its source stands beside it."""
    folder = tmp_path_factory.mktemp("vad")
    write_vad(folder / "source", "wide", tensors="model.pt")
    convert.convert(folder / "source", folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def trace(model: Path) -> Trace:
    import soundfile

    recording = model.parent / "speech.wav"
    soundfile.write(recording, speech_like(4.0), 16000, subtype="PCM_16")
    return record(model.parent / "source", model.parent / "trace", [recording])


@pytest.mark.reference
@pytest.mark.slow
def test_a_healthy_model_passes_whole_and_in_chunks(model: Path, trace: Trace):
    report = check(model, trace.directory)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    names = [row.name for row in report.taps]
    assert {f"stream.{ms}ms.segments" for ms in CHUNKS_MS} | {f"decision.{name}" for name in COLUMNS} <= {*names}
    assert names.index("encoder.fsmn.0.fsmn_block") < names.index("encoder.fsmn.0") < names.index("encoder.softmax")
    assert names[:3] == ["fbank", "feats", "levels"]
    assert report.outcomes["segment"].compared >= 2 * (1 + len(CHUNKS_MS))
    assert [row.differ for row in report.outcomes.values()] == [0, 0, 0]
    assert report.utterances[0].reference_text == report.utterances[0].candidate_text != "no speech"
    assert {row.status for row in report.invariance if row.side == "reference"} == {"note"}
    names = {engine: {row.name for row in report.taps if row.engine == engine} for engine in ENGINES}
    assert {row.engine for row in report.taps} == {"plain", *ENGINES}
    for read in names.values():
        assert {"encoder.fsmn.1.fsmn_block", "silence", *(f"stream.{ms}ms.silence" for ms in CHUNKS_MS)} <= read
    assert {row.status for row in report.invariance if row.name in ENGINES} == ({"pass"} if ENGINES else set())
    assert any(note.startswith(in_force(ENGINES)) for note in report.notes)


@pytest.mark.reference
@pytest.mark.slow
def test_faults_are_caught_where_they_are(model: Path, trace: Trace):
    report = judge(trace, model, faults=[fault for fault in FAULTS if fault.name in (*SEEDED, *IN_THE_ENGINE)])
    assert [(row.name, row.engine, row.address) for row in report.faults if not row.right_address] == []
    own = [(name, "CPU engine") for name in IN_THE_ENGINE if "CPU engine" in ENGINES]
    every = [(name, engine) for name in IN_THE_NETWORK for engine in ENGINES]
    expected = {*((name, "plain") for name in SEEDED), *every, *own}
    assert {(row.name, row.engine) for row in report.faults} == expected
    assert (report.caught, report.false_alarms, report.verdict) == (len(expected), 0, "pass")


@pytest.mark.reference
@pytest.mark.shared
@pytest.mark.slow
def test_the_released_weights(shared: Path, tmp_path: Path):
    """The real checkpoint on real speech: 770-2400 and 3380-5980 ms are measured in ../shared's golden.json."""
    source = shared / "checkpoints/fsmn_vad"
    convert.convert(source, tmp_path / "model")
    audio = shared / "data/speech_misc/funasr_sample/sample.wav"
    report = run(source, tmp_path / "model", [audio], invariants=False)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    assert report.utterances[0].candidate_text == "0.77-2.4 s, 3.38-5.98 s"


def test_enough_faults_and_all_described():
    own = [fault.name for fault in FAULTS if not fault.module.startswith(("fbank",))]
    assert len({*own}) == len(own) >= 30
    assert all(fault.description for fault in FAULTS)
    assert {"kernel_reversed", "left_right_swapped", "stride", "no_residual", "narrow_cmvn", "two_frames_more",
            "above_the_threshold", "lookback_off_by_one", "cache_not_carried"} <= {*own}  # fmt: skip


def test_transitions_are_where_something_changes():
    """By hand: the vote turns at frame 1, the machine at 2 too, and nothing at 3."""
    rows = [[0, 2, 1, 1, -1, 0, 0], [1, 3, 2, 0, 0, 1, 0], [1, 0, 2, 0, 0, 2, 0], [1, 0, 2, 0, 0, 3, 0]]
    assert transitions(table(rows)).tolist() == [[1, 3, 2, 0], [2, 0, 2, 0]]
    assert transitions(table([])).shape == (0, 4)


def test_streams_reports_become_segments():
    assert merged([[[70, -1]], [], [[-1, 900], [1000, 1500]], [[2000, -1]]]) == [(70, 900), (1000, 1500)]


def test_the_edge_is_an_edge():
    """The made-up probability equals the threshold to the last bit: one step more, and it is silence."""
    case = next(case for case in cases.frame_cases() if case.name == "probability on the threshold")
    silence, threshold = float(case.silence[0]), case.options["speech_noise_thres"]
    assert np.exp(np.log(1 - silence)) == np.exp(np.log(silence)) + threshold
    assert not np.exp(np.log(1 - silence)) >= np.exp(np.log(silence)) + np.nextafter(threshold, 1.0)


def test_only_known_families_can_be_compared():
    from mlx_model.errors import UsageError

    assert families.by_name("fsmn_vad_streaming").name == "fsmn_vad_streaming"
    with pytest.raises(UsageError, match="'lstm' cannot be compared; there are Paraformer"):
        families.by_name("lstm")


def side(state: list[int], segments: list[list[int]]) -> Side:
    """A recording of a few frames: the detector's state at each, and the segments reported."""
    return Side(table([[1, 2, number, 0, 0, 0, 0] for number in state]), [segments])


@pytest.mark.parametrize(
    ("flips", "explained"),
    [
        ([(1e-4, 2e-4)], True),
        ([(1e-4, 2e-4), (3e-4, 1e-4)], False),  # one of the frames is a bug
        ([], False),  # no frame differs: the machine itself went another way
    ],
)
def test_what_follows_from_frames_is_explained_by_all_of_them(flips: list[tuple[float, float]], explained: bool):
    reference, candidate = side([1, 1, 2, 2], [[20, 40]]), side([1, 2, 2, 2], [[10, 40]])
    frames = [decision("frame", "a", 1, ("silence", "speech"), margin, noise) for margin, noise in flips]
    rows = follow("a", reference, candidate, frames)
    assert [(row.kind, row.position, row.explained) for row in rows] == [
        ("transition", 0, explained),  # the first transition comes a frame early
        ("segment", 0, explained),
    ]
    assert not follow("a", reference, reference, frames)
    [missing] = follow("a", reference, Side(reference.frames, [[]]), frames)
    assert (missing.kind, missing.candidate, missing.explained) == ("segment", "nothing", explained)
