"""What FunASR is given for a source. Oracle: FunASR's own rules for a directory without configuration.json, by hand."""

import json
from pathlib import Path

import pytest

from convert.opening import is_plain, opened
from mlx_model.errors import UsageError
from parity.demo import MODEL
from parity.sides import guard
from tests.model_folders import change_config, small_files, trainer_folder, with_absolute_paths


def test_a_plain_directory_is_given_as_it_is():
    with opened(MODEL) as directory:
        assert directory == MODEL
    assert is_plain(MODEL)


def test_a_trainers_folder_gets_the_names_that_funasr_looks_for(tmp_path: Path):
    base = small_files(tmp_path / "base")
    source = with_absolute_paths(trainer_folder(tmp_path / "run", "model.pt.ep3", "model.pt.avg5"), base)
    told: list[str] = []
    with opened(source, checkpoint="model.pt.ep3", tell=told.append) as directory:
        assert sorted(path.name for path in directory.iterdir()) == [
            "am.mvn", "config.yaml", "model.pt", "seg_dict", "tokens.json",
        ]  # fmt: skip
        assert (directory / "am.mvn").samefile(base / "am.mvn")
        assert (directory / "model.pt").samefile(source / "model.pt.ep3")
        config = json.loads((directory / "config.yaml").read_text("utf-8"))
        assert not {"init_param", "model_path"} & set(config)
        assert "cmvn_file" not in config["frontend_conf"]
        assert guard.weights(directory) == directory / "model.pt"
    assert not directory.exists()
    assert any("model.pt.ep3 (--checkpoint); also there: model.pt.avg5" in note for note in told)


def test_interpolations_are_written_out_and_text_stays_text(tmp_path: Path):
    source = trainer_folder(tmp_path / "run", "model.pt")
    change_config(source, predictor_conf={"idim": "${encoder_conf.output_size}"})
    with (source / "config.yaml").open("a", encoding="utf-8") as stream:
        stream.write("note: '1e-3'\n")
    assert not is_plain(source)
    with opened(source) as directory:
        found = guard.parsed(directory / "config.yaml")
    assert found["predictor_conf"]["idim"] == found["encoder_conf"]["output_size"]
    assert found["note"] == "1e-3"


@pytest.mark.parametrize("name", ["gone", "out"])
def test_what_is_no_source_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UsageError), opened(tmp_path / name):
        pytest.fail("it was opened")


@pytest.mark.reference
def test_funasr_opens_it_with_the_chosen_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from parity.demo import SPEECH
    from parity.sides import reference

    base = small_files(tmp_path / "base")
    source = with_absolute_paths(trainer_folder(tmp_path / "run", "model.pt.avg5"), base)
    change_config(source, predictor_conf={"idim": "${encoder_conf.output_size}"})
    wav = str(next(SPEECH.rglob("*.wav")).absolute())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with opened(source) as directory:
        (trained,) = next(reference.transcribe(directory, [[wav]]))
    (plain,) = next(reference.transcribe(MODEL, [[wav]]))
    assert trained["text"] == plain["text"] != ""
    assert not any((tmp_path / "here").iterdir())  # config.yaml names an output_dir
