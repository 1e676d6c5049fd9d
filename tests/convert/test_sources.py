"""Which files make a model, and which paths are never followed. Oracle: FunASR's rules, by hand."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_model import CONFIG, TOKENS

from convert.sources import resolve
from mlx_model.errors import AssetError, CheckpointError, ConfigError, MlxFunasrError, UsageError


def configure(directory: Path, metas: dict) -> None:
    (directory / "configuration.json").write_text(json.dumps({"file_path_metas": metas}), "utf-8")


def metas(**changes) -> dict:
    found = {
        "init_param": "model.safetensors",
        "config": "config.yaml",
        "token_list": "tokens.json",
        "cmvn_file": "am.mvn",
    }
    found |= changes
    return {
        "init_param": found["init_param"],
        "config": found["config"],
        "tokenizer_conf": {"token_list": found["token_list"]},
        "frontend_conf": {"cmvn_file": found["cmvn_file"]},
    }


def set_config(directory: Path, **changes) -> None:
    (directory / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}, allow_unicode=True), "utf-8")


def test_usual_names_are_found(model_dir):
    source = resolve(model_dir)
    assert (source.weights, source.cmvn, source.tokens) == tuple(
        model_dir / name for name in ("model.safetensors", "am.mvn", "tokens.json")
    )
    assert (source.bpe_model, source.seg_dict, source.name, source.notes) == (None, None, "tiny", [])


def test_configuration_json_renames_every_file(model_dir):
    (model_dir / "sub").mkdir()
    for old, new in {
        "model.safetensors": "w.safetensors",
        "config.yaml": "finetune.yaml",
        "tokens.json": "sub/vocab.json",
        "am.mvn": "cmvn.txt",
    }.items():
        (model_dir / old).rename(model_dir / new)
    configure(
        model_dir,
        metas(init_param="w.safetensors", config="finetune.yaml", token_list="sub/vocab.json", cmvn_file="cmvn.txt"),
    )
    source = resolve(model_dir)
    assert [
        path.relative_to(model_dir).as_posix() for path in (source.weights, source.config, source.tokens, source.cmvn)
    ] == [
        "w.safetensors",
        "finetune.yaml",
        "sub/vocab.json",
        "cmvn.txt",
    ]


def test_old_modelscope_configuration_is_followed(model_dir):
    (model_dir / "am.mvn").rename(model_dir / "old.mvn")
    document = {
        "model": {"type": "generic-asr", "model_config": {"mvn_file": "old.mvn", "am_model_config": "config.yaml"}}
    }
    (model_dir / "configuration.json").write_text(json.dumps(document), "utf-8")
    assert resolve(model_dir).cmvn == model_dir / "old.mvn"


def test_a_weight_file_is_read_with_the_config_beside_it(model_dir):
    (model_dir / "model.safetensors").rename(model_dir / "epoch7.safetensors")
    assert resolve(model_dir / "epoch7.safetensors").weights == model_dir / "epoch7.safetensors"


OUTSIDE = ["/etc/passwd", "../tokens.json", "a/../../tokens.json", "../../etc/hosts", "./.."]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("key", ["init_param", "config", "token_list", "cmvn_file"])
def test_configuration_json_never_leads_out_of_the_directory(model_dir, key, path):
    (model_dir.parent / "tokens.json").write_text(json.dumps(TOKENS), "utf-8")
    configure(model_dir, metas(**{key: path}))
    with pytest.raises(MlxFunasrError, match="outside the model directory") as caught:
        resolve(model_dir)
    assert key in str(caught.value)


def test_a_link_that_a_configuration_follows_out_is_refused(model_dir):
    (model_dir.parent / "elsewhere").mkdir()
    (model_dir.parent / "elsewhere" / "tokens.json").write_text(json.dumps(TOKENS), "utf-8")
    (model_dir / "sub").symlink_to(model_dir.parent / "elsewhere")
    configure(model_dir, metas(token_list="sub/tokens.json"))
    with pytest.raises(AssetError, match="link that leaves"):
        resolve(model_dir)


def test_config_yaml_never_leads_out_of_the_directory(model_dir):
    (model_dir / "am.mvn").rename(model_dir.parent / "am.mvn")
    set_config(model_dir, frontend_conf={**CONFIG["frontend_conf"], "cmvn_file": "../am.mvn"})
    with pytest.raises(AssetError, match="outside the model directory"):
        resolve(model_dir)


def test_a_training_path_in_config_yaml_gives_way_to_the_file_beside_it(model_dir):
    set_config(model_dir, frontend_conf={**CONFIG["frontend_conf"], "cmvn_file": "/nfs/train/am.mvn"})
    source = resolve(model_dir)
    assert source.cmvn == model_dir / "am.mvn"
    assert source.notes == ["config.yaml names cmvn_file '/nfs/train/am.mvn'; not followed, am.mvn beside it was used"]


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("config.yaml", ConfigError, "has no config.yaml"),
        ("am.mvn", AssetError, "has no am.mvn"),
        ("model.safetensors", CheckpointError, "has no model.pt"),
    ],
)
@pytest.mark.parametrize("configured", [False, True])
def test_a_missing_file_is_named(model_dir, name, error, reason, configured):
    (model_dir / name).unlink()
    if configured:
        configure(model_dir, metas())
        reason = {"am.mvn": "names cmvn_file 'am.mvn'", "model.safetensors": "has no model.safetensors"}.get(
            name, reason
        )
    with pytest.raises(error, match=reason):
        resolve(model_dir)


def test_a_model_without_cmvn_has_to_say_so(model_dir):
    (model_dir / "am.mvn").unlink()
    set_config(model_dir, frontend_conf={**CONFIG["frontend_conf"], "cmvn_file": None})
    assert resolve(model_dir).cmvn is None


def test_an_am_mvn_that_funasr_would_ignore_is_not_taken_silently(model_dir):
    found = metas()
    del found["frontend_conf"]
    configure(model_dir, found)
    with pytest.raises(AssetError, match="does not name"):
        resolve(model_dir)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "{" * 10_000])
def test_a_damaged_configuration_json_is_refused(model_dir, text):
    (model_dir / "configuration.json").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"configuration\.json"):
        resolve(model_dir)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1",
        "",
        "a: !!python/object/apply:os.system [echo]",
        "a: &x [1]\nb: *x",
        "a: 1\na: 2",
        "{[1]: 2}",
        "\x00",
    ],
)
def test_a_damaged_or_hostile_config_yaml_is_refused(model_dir, text):
    (model_dir / "config.yaml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        resolve(model_dir)


def test_a_huge_config_yaml_is_refused_before_it_is_parsed(model_dir):
    with (model_dir / "config.yaml").open("wb") as stream:
        stream.truncate(9_000_000)
    with pytest.raises(ConfigError, match="has 9000000 bytes"):
        resolve(model_dir)


def test_yaml_numbers_are_those_of_omegaconf(model_dir):
    (model_dir / "config.yaml").write_text(
        "a: 1e-3\nb: 2.5E+4\nc: 10\nd: '1e3'\ntoken_list:\n- 1\n- no\n- null\n- a\n- -\n", "utf-8"
    )
    raw = resolve(model_dir).raw
    assert raw == {"a": 0.001, "b": 25000.0, "c": 10, "d": "1e3", "token_list": ["1", "no", "null", "a", "-"]}


def test_what_is_neither_path_nor_id_is_a_usage_error(tmp_path, model_dir):
    for text in [str(tmp_path / "gone"), "no such thing", "a/b/c", "./iic/x", "paraformer-zhh"]:
        with pytest.raises(UsageError):
            resolve(text)
    with pytest.raises(UsageError, match="revision"):
        resolve(model_dir, revision="v1")
    with pytest.raises(UsageError, match="expected a model directory or a weight file"):
        resolve(model_dir / "tokens.json")
