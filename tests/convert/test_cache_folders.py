"""Which directory a path means. Oracle: the layouts of Hugging Face's and ModelScope's caches, by hand."""

from pathlib import Path

import pytest

from convert.cache_folders import cached_name, model_directory
from convert.sources import resolve
from mlx_model.errors import UsageError

COMMIT, OTHER = "0" * 40, "1" * 40


@pytest.fixture
def cache(tmp_path: Path, make_model) -> Path:
    root = tmp_path / "models--funasr--tiny"
    (root / "blobs").mkdir(parents=True)
    for commit in (COMMIT, OTHER):
        snapshot = root / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for number, path in enumerate(sorted(make_model("made").iterdir())):
            blob = root / "blobs" / f"{commit[0]}{number}"
            path.rename(blob)
            (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    return root


def test_the_snapshot_of_main_is_taken_and_named(cache: Path):
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(OTHER, "utf-8")
    source = resolve(cache)
    assert source.directory == cache / "snapshots" / OTHER
    assert source.name == "funasr/tiny"
    assert any(OTHER in note and "refs/main" in note for note in source.notes)


def test_several_without_a_reference_are_listed(cache: Path):
    with pytest.raises(UsageError, match="2 snapshots and no refs/main") as caught:
        resolve(cache)
    assert str(cache / "snapshots" / COMMIT) in str(caught.value)
    (cache / "snapshots" / OTHER).rename(cache / "elsewhere")
    assert resolve(cache).directory == cache / "snapshots" / COMMIT
    (cache / "snapshots" / COMMIT).rename(cache / "elsewhere too")
    with pytest.raises(UsageError, match="without a snapshot"):
        resolve(cache)


def test_modelscopes_branch_is_its_own_snapshot(cache: Path):
    (cache / "snapshots" / OTHER).rename(cache / "snapshots" / "master")
    assert model_directory(cache, []).name == "master"


def test_other_directories_are_themselves(tmp_path: Path):
    assert model_directory(tmp_path, []) == tmp_path
    assert cached_name(tmp_path) is None
