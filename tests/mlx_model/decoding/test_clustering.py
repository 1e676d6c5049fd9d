"""Windows to speakers: FunASR's ClusterBackend, postprocess and distribute_spk, and what is ours beyond them.

Oracle: FunASR in a process of its own (tests/make_speakers.py); made speakers, whose windows are known.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from mlx_model.decoding import clustering
from mlx_model.decoding.clustering import cluster
from mlx_model.decoding.speaker_turns import renumbered, speakers_of, turns
from mlx_model.errors import DependencyError, UsageError
from tests.mlx_model.speaker_models import asked

SENTENCES = [[start, start + 700 + 130 * (start % 7)] for start in range(0, 60_000, 970)]


def meeting(counts: list[int], seed: int, noise: float = 0.6, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of windows of speakers who take turns, float32, and who spoke."""
    rng = np.random.default_rng(seed)
    voices = rng.standard_normal((len(counts), width))
    said = np.concatenate([np.full(count, number) for number, count in enumerate(counts)])
    order = np.argsort(rng.random(-(-len(said) // 5)), kind="stable")
    said = np.concatenate([said[block * 5 : block * 5 + 5] for block in order])
    return (voices[said] + noise * rng.standard_normal((len(said), width))).astype(np.float32), said


MEETINGS = {
    "two": meeting([30, 25], 0), "five": meeting([40, 22, 31, 18, 25], 1), "one": meeting([35], 2),
    "few": meeting([9, 10], 3), "known": meeting([30, 30, 20], 4), "noisy": meeting([45, 35, 40], 5, noise=1.4),
}  # fmt: skip


def same_partition(ours: Any, theirs: Any) -> bool:
    return renumbered(np.asarray(ours)).tolist() == renumbered(np.asarray(theirs)).tolist()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("clusters")
    np.savez(folder / "clusters.npz", **{name: rows for name, (rows, _) in MEETINGS.items()})
    asked(folder, clusters=str(folder / "clusters.npz"), sentences=SENTENCES, speakers={"known": 3})
    return json.loads((folder / "turns.json").read_text("utf-8"))


@pytest.mark.reference
@pytest.mark.parametrize("name", MEETINGS)
def test_labels_turns_and_speakers_are_funasrs(answers: dict[str, Any], name: str):
    rows, _ = MEETINGS[name]
    labels = cluster(rows, 3 if name == "known" else None, as_funasr=True)
    assert same_partition(labels, answers[name]["labels"])
    times = [(0.75 * number, 0.75 * number + 1.5) for number in range(len(rows))]
    found = turns(times, renumbered(labels), as_funasr=True)
    assert [[start, end, speaker] for start, end, speaker in found] == answers[name]["turns"]
    assert speakers_of(SENTENCES, found, as_funasr=True) == answers[name]["speakers"]


@pytest.mark.parametrize("name", ["two", "five", "one", "few", "known"])
def test_made_speakers_are_found(name: str):
    rows, said = MEETINGS[name]
    assert same_partition(cluster(rows), said)


def test_few_windows_are_one_speaker_to_funasr_whatever_was_asked():
    rows, said = MEETINGS["few"]
    assert cluster(rows, 2, as_funasr=True).tolist() == [0] * 19
    assert same_partition(cluster(rows, 2), said)


def test_a_long_recording_is_clustered_the_same_every_time_and_a_rare_speaker_is_found():
    rows, said = meeting([1600, 900, 8], 6)  # 8 windows of 2508: a sample of 1500 holds some 5 of them
    first = cluster(rows)
    assert same_partition(first, said)
    np.random.default_rng(1)
    assert np.array_equal(first, cluster(rows))
    assert same_partition(cluster(rows[said < 2], 2), said[said < 2])


def test_as_many_speakers_as_were_asked_for_where_there_are_windows_for_them():
    rows, _ = MEETINGS["two"]
    assert len(set(cluster(rows, 50).tolist())) == 50
    assert len(set(cluster(rows[:7], 50).tolist())) == 7
    with pytest.raises(UsageError, match="60 speakers in 55 windows: FunASR fails"):
        cluster(rows, 60, as_funasr=True)
    with pytest.raises(UsageError, match="0 speakers"):
        cluster(rows, 0)


def test_nothing_and_one_window():
    assert cluster(np.empty((0, 8), np.float32)).tolist() == []
    assert cluster(np.ones((1, 8), np.float32)).tolist() == [0]


def test_equal_and_silent_windows_are_one_speaker():
    assert set(cluster(np.ones((40, 8), np.float32)).tolist()) == {0}
    assert len(cluster(np.zeros((40, 8), np.float32))) == 40  # no direction at all: no error either


def test_pruning_keeps_the_largest_of_each_row():
    similar = np.arange(400, dtype=np.float64).reshape(20, 20)
    kept = clustering.pruned(similar)  # 0.022 * 20 < 6: 6 of 20, and int((1 - 0.3) * 20) = 14 go
    assert (kept[:, 14:] == similar[:, 14:]).all()
    assert not kept[:, :14].any()
    assert (clustering.pruned(np.ones((300, 300))) > 0).sum(axis=1).tolist() == [7] * 300  # 300 - int(0.978 * 300)


def test_the_laplacian_by_hand():
    kept = np.array([[5.0, 2.0, 0.0], [0.0, 5.0, 1.0], [0.0, 3.0, 5.0]])
    assert clustering.laplacian(kept).tolist() == [[1, -1, 0], [-1, 3, -2], [0, -2, 2]]


def test_centroids_as_alike_as_the_limit_are_joined():
    rows = np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])  # cosines 0.8, -1, -0.8
    assert clustering.merged(np.array([0, 1, 2]), rows, 0.8 - 1e-9).tolist() == [0, 0, 1]
    assert clustering.merged(np.array([0, 1, 2]), rows, 0.81).tolist() == [0, 1, 2]
    assert clustering.merged(np.array([-1, -1, -1]), rows).tolist() == [-1, -1, -1]  # all noise: FunASR fails


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    with pytest.raises(DependencyError, match=r"needs scipy.*: pip install 'mlx-funasr\[speakers\]'"):
        cluster(MEETINGS["two"][0])
