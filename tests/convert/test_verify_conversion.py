"""`verify`: what a changed byte, a lost file and another source are called. Oracle: the change that the test made."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_model import CONFIG, TOKENS, random_tensors, torch_shapes, write_model

import convert
from convert.requantize import requantize
from convert.verify_conversion import read_conversion, verify_conversion
from mlx_model.errors import MlxFunasrError, UsageError
from reports import schema

FILES, CONFIGURATION, SOURCE, TENSORS = (
    "files of the conversion", "configuration", "files of the source", "tensors against the source",
)  # fmt: skip
WIDE = {**CONFIG, "encoder_conf": {**CONFIG["encoder_conf"], "linear_units": 64}}


def wide_model(folder: Path) -> Path:
    """The tiny model with feed-forward layers of 64 units, which are worth quantising."""
    shapes = torch_shapes()
    for name, shape in shapes.items():
        if name.startswith("encoder.") and "feed_forward.w_1" in name:
            shapes[name] = (64, *shape[1:])
        elif name.startswith("encoder.") and name.endswith("feed_forward.w_2.weight"):
            shapes[name] = (shape[0], 64)
    return write_model(folder, config=WIDE, tensors=random_tensors(shapes))


@pytest.fixture
def out(model_dir, tmp_path) -> Path:
    convert.convert(model_dir, tmp_path / "out")
    return tmp_path / "out"


def status(found) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def differs(found, name: str) -> list[str]:
    (check,) = [check for check in found.checks if check.name == name]
    assert check.status == "fail"
    assert found.verdict == "fail"
    return check.differs


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_whole_conversion_passes(model_dir, tmp_path, dtype):
    report = convert.convert(model_dir, tmp_path / "out", dtype=dtype)
    assert sorted(report.output_sha256) == ["config.json", "model.safetensors", "tokens.json"]
    found = verify_conversion(tmp_path / "out")
    assert status(found) == dict.fromkeys((FILES, CONFIGURATION, SOURCE, TENSORS), "pass")
    assert (found.verdict, found.source) == ("pass", str(model_dir))


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_quantised_one_passes_within_rounding(tmp_path, bits):
    source = wide_model(tmp_path / "wide")
    convert.convert(source, tmp_path / "out", bits=bits, group_size=32)
    assert verify_conversion(tmp_path / "out").verdict == "pass"


def test_one_of_mixed_bits_passes_and_its_changed_weight_does_not(tmp_path):
    source = wide_model(tmp_path / "wide")
    convert.convert(source, tmp_path / "out")
    modules = {"encoder.encoders.0.feed_forward.w_2": 4, "encoder.encoders.1.feed_forward.w_2": 8}
    requantize(tmp_path / "out", tmp_path / "mixed", modules, group_size=32, about="by hand")
    assert verify_conversion(tmp_path / "mixed").verdict == "pass"
    assert "(MLX, 4 to 8 bit)" in (tmp_path / "mixed/README.md").read_text("utf-8")

    tensors = load_file(tmp_path / "mixed/model.safetensors")
    tensors["encoder.encoders.0.feed_forward.w_2.scales"] *= np.float16(2)
    save_file(tensors, tmp_path / "mixed/model.safetensors")
    (wrong,) = differs(verify_conversion(tmp_path / "mixed"), TENSORS)
    assert wrong.startswith("'encoder.encoders.0.feed_forward.w_2.weight' is off by")


def test_a_quantised_one_without_its_scales_or_with_a_layer_more_is_named(tmp_path):
    source = wide_model(tmp_path / "wide")
    convert.convert(source, tmp_path / "out", bits=8, group_size=32)
    tensors = load_file(tmp_path / "out/model.safetensors")
    name = next(name for name in tensors if name.endswith(".scales"))
    del tensors[name]
    save_file(tensors, tmp_path / "out/model.safetensors")
    assert differs(verify_conversion(tmp_path / "out"), TENSORS) == [f"the written tensors differ by ['{name}']"]


def test_one_value_that_changed_is_found_by_hash_and_by_comparison(out):
    tensors = load_file(out / "model.safetensors")
    tensors["decoder.after_norm.bias"][3] += 1
    save_file(tensors, out / "model.safetensors")
    found = verify_conversion(out)
    (wrong,) = differs(found, FILES)
    assert wrong.startswith("model.safetensors has sha256 ")
    assert differs(found, TENSORS) == ["1 of 8 values of 'decoder.after_norm.bias' read back differently"]
    assert status(found)[SOURCE] == "pass"


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        (lambda out: (out / "tokens.json").unlink(), FILES, "tokens.json is missing"),
        (lambda out: (out / "tokens.json").unlink(), TENSORS, "tokens.json is not the source's vocabulary"),
        (lambda out: (out / "model.safetensors").unlink(), FILES, "model.safetensors is missing"),
        (lambda out: (out / "model.safetensors").write_bytes(b"x"), TENSORS, "model.safetensors"),
        (
            lambda out: shutil.copy(out / "model.safetensors", out / "b.safetensors"),
            FILES,
            "b.safetensors was not there",
        ),
        (lambda out: (out / "config.json").write_text("{"), CONFIGURATION, "config.json cannot be read"),
        (lambda out: (out / "config.json").write_text("[]"), CONFIGURATION, "config.json"),
    ],
)
def test_whatever_was_done_to_it_is_named(out, change, check, said):
    change(out)
    assert any(said in item for item in differs(verify_conversion(out), check))


def test_a_key_of_the_configuration_that_changed_is_named(out):
    config = json.loads((out / "config.json").read_text("utf-8"))
    (out / "config.json").write_text(json.dumps({**config, "vocab_size": 9}), "utf-8")
    assert differs(verify_conversion(out), CONFIGURATION) == ["vocab_size"]


def test_the_card_may_be_edited(out):
    (out / "README.md").write_text("mine", "utf-8")
    assert verify_conversion(out).verdict == "pass"


def test_a_source_that_changed_since_is_named(model_dir, out):
    (model_dir / "am.mvn").write_text((model_dir / "am.mvn").read_text("utf-8").replace("-8.", "-9."), "utf-8")
    found = verify_conversion(out)
    assert differs(found, SOURCE) == ["am.mvn is another file"]
    (wrong,) = differs(found, TENSORS)
    assert "'frontend.cmvn_shift' read back differently" in wrong


def test_another_source_is_none_of_it(out, tmp_path):
    other = write_model(tmp_path / "other", tensors=random_tensors(torch_shapes(), seed=1))
    found = verify_conversion(out, source=other)
    assert differs(found, SOURCE) == ["model.safetensors is another file"]
    assert len(differs(found, TENSORS)) == len(torch_shapes()) - 1  # all but the one that is dropped


def test_a_source_that_is_gone_is_said_and_one_that_is_named_must_be_one(model_dir, out, tmp_path):
    (model_dir / "config.yaml").unlink()
    found = verify_conversion(out)
    assert (found.verdict, found.source, status(found)["source"]) == ("pass", None, "skipped")
    assert "no longer what was converted" in found.checks[-1].detail
    shutil.rmtree(model_dir)
    assert "name it with --source SRC" in verify_conversion(out).checks[-1].detail
    for wrong in (model_dir, tmp_path):
        with pytest.raises(MlxFunasrError):
            verify_conversion(out, source=wrong)


def test_a_conversion_of_before_hashes_were_kept_is_still_compared_with_its_source(out):
    document = json.loads((out / "conversion.json").read_text("utf-8"))
    del document["output_sha256"], document["name"]
    (out / "conversion.json").write_text(json.dumps(document), "utf-8")
    assert schema.read(out / "conversion.json").output_sha256 == {}
    assert status(verify_conversion(out)) == {FILES: "skipped", CONFIGURATION: "pass", SOURCE: "pass", TENSORS: "pass"}


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", "..", "a\\b", "a\0b"])
def test_a_name_that_leads_out_of_the_directory_is_refused(out, name):
    document = json.loads((out / "conversion.json").read_text("utf-8"))
    document["output_sha256"][name] = "0"
    (out / "conversion.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(UsageError, match="is not the name of a file beside it"):
        read_conversion(out)


def test_what_is_no_conversion_is_one_line(model_dir, tmp_path):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "conversion.json").write_text('{"schema": "conversion/1", "family": 1}', "utf-8")
    for wrong in (model_dir, tmp_path / "none", tmp_path / "damaged", model_dir / "am.mvn", "x" * 300, "./x/y", "a b"):
        with pytest.raises(UsageError) as caught:
            verify_conversion(wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="a revision"):
        verify_conversion(tmp_path, revision="main")


def test_the_vocabulary_is_compared_too(model_dir, out):
    (model_dir / "tokens.json").write_text(
        json.dumps([{"三": "四"}.get(token, token) for token in TOKENS], ensure_ascii=False), "utf-8"
    )
    assert "tokens.json is not the source's vocabulary" in differs(verify_conversion(out), TENSORS)
