"""A folder of FunASR's trainer (model.pt.epN, model.pt.avgN, model.pt.best) "has no model.pt"; none is a weight file.

Oracle: the tensor table and hashes of the model under its usual names.
"""

import re
from pathlib import Path

import pytest

import convert
from mlx_model.errors import CheckpointError, UsageError
from parity.demo import MODEL
from tests.model_folders import trainer_folder

WEIGHTS = convert.inspect(MODEL).sha256["model.pt"]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["model.pt", "model.pt.ep1", "model.pt.best", "model.pt.avg5"], "model.pt"),
        (["model.pt.ep10", "model.pt.avg10", "model.pt.best"], "model.pt.best"),
        (["model.pt.ep9", "model.pt.ep10", "model.pt.avg5"], "model.pt.avg5"),
        (["model.pt.ep9", "model.pt.ep10", "model.pt.ep9.2000"], "model.pt.ep10"),
        (["model.pt.ep2.9", "model.pt.ep2.1000"], "model.pt.ep2.1000"),
        (["valid.acc.best.pb", "valid.acc.ave_10best.pb", "12epoch.pb", "checkpoint.pb"], "valid.acc.best.pb"),
        (["2epoch.pb", "12epoch.pb", "checkpoint.pb"], "12epoch.pb"),
        (["checkpoint.pb"], "checkpoint.pb"),
        (["checkpoint.pt"], "checkpoint.pt"),
    ],
)
def test_one_is_taken_and_named_and_the_others_are_listed(tmp_path: Path, names: list[str], taken: str):
    report = convert.inspect(trainer_folder(tmp_path / "run", *names))
    assert report.sha256[taken] == WEIGHTS
    told = next(note for note in report.notes if note.startswith("weights: "))
    assert told.startswith(f"weights: {taken} (")
    assert all(name in told for name in names)


def test_checkpoint_chooses_and_a_file_stands_for_itself(tmp_path: Path):
    source = trainer_folder(tmp_path / "run", "model.pt", "model.pt.ep3", "model.pt.avg10")
    assert "model.pt.ep3" in convert.inspect(source, checkpoint="model.pt.ep3").sha256
    assert "model.pt.ep3" in convert.inspect(source, checkpoint=str(source / "model.pt.ep3")).sha256
    assert "model.pt.avg10" in convert.inspect(source / "model.pt.avg10").sha256
    (source / "a name of mine").symlink_to(MODEL / "model.pt")  # a file is told by its content
    assert "a name of mine" in convert.inspect(source / "a name of mine").sha256


def test_a_checkpoint_that_is_not_there_lists_what_is(tmp_path: Path):
    source = trainer_folder(tmp_path / "run", "model.pt.ep3", "model.pt.avg10")
    says = "did you mean 'model.pt.ep3'?; there are: model.pt.avg10, model.pt.ep3"
    with pytest.raises(CheckpointError, match=re.escape(says)):
        convert.inspect(source, checkpoint="model.pt.ep4")
    with pytest.raises(UsageError, match="expected the name of a file in"):
        convert.inspect(source, checkpoint="../elsewhere/model.pt")
    with pytest.raises(UsageError, match=r"--checkpoint model\.pt\.ep3 has no meaning here: SRC is a weight file"):
        convert.inspect(source / "model.pt.avg10", checkpoint="model.pt.ep3")
    with pytest.raises(UsageError, match="expected a model directory or a weight file, found JSON"):
        convert.inspect(source / "tokens.json")


def test_deepspeeds_folders_are_checkpoints(tmp_path: Path):
    source = trainer_folder(tmp_path / "run")
    inner = source / "model.pt.ep3"
    inner.mkdir()
    (inner / "mp_rank_00_model_states.pt").symlink_to(MODEL / "model.pt")
    name = "model.pt.ep3/mp_rank_00_model_states.pt"
    assert convert.inspect(source).sha256[name] == convert.inspect(inner).sha256[name] == WEIGHTS
    (inner / "mp_rank_01_model_states.pt").symlink_to(MODEL / "model.pt")
    with pytest.raises(UsageError, match="in 2 parts"):
        convert.inspect(source)
