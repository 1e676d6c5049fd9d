"""A conversion from end to end on the tiny model. Oracles: numpy, the safetensors library, MLX."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from tiny_model import CONFIG, FEATS, KERNEL, TOKENS, WIDTH, random_tensors, torch_shapes

import convert
from convert import pipeline
from mlx_model.errors import AssetError, CheckpointError, ConfigError, MlxFunasrError, OutputError, UsageError
from reports import schema

DROPPED = {"decoder.embed.0.weight"}
KERNELS = {name for name, shape in torch_shapes().items() if len(shape) == 3}


def expected_array(name: str, array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, 2) if name in KERNELS else array


def test_every_tensor_arrives_and_says_what_became_of_it(model_dir, tmp_path):
    report = convert.convert(model_dir, tmp_path / "out")
    source, found = random_tensors(torch_shapes()), load_file(tmp_path / "out" / "model.safetensors")
    assert set(found) == (set(source) - DROPPED) | {"frontend.cmvn_shift", "frontend.cmvn_scale"}
    for name in set(source) - DROPPED:
        np.testing.assert_array_equal(found[name], expected_array(name, source[name]), err_msg=name)
    fates = {row.source: (row.target, row.op) for row in report.tensors}
    assert fates["decoder.embed.0.weight"] == (None, "drop")
    assert fates["predictor.cif_conv1d.weight"] == ("predictor.cif_conv1d.weight", "conv1d")
    assert fates["encoder.after_norm.bias"] == ("encoder.after_norm.bias", "copy")
    assert len(fates) == len(report.tensors) == len(source)
    assert report.parameters == sum(array.size for array in source.values())
    assert report.converted_parameters == report.parameters - len(TOKENS) * WIDTH
    assert all(row.reason for row in report.tensors)


def test_the_directory_is_whole(model_dir, tmp_path):
    (model_dir / "LICENSE").write_text("be kind", "utf-8")
    (model_dir / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: zh\n---\nhello\n", "utf-8")
    out = tmp_path / "out"
    report = convert.convert(model_dir, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "LICENSE",
        "README.md",
        "README.source.md",
        "config.json",
        "conversion.json",
        "model.safetensors",
        "tokens.json",
    ]
    assert json.loads((out / "tokens.json").read_text("utf-8")) == TOKENS
    assert schema.read(out / "conversion.json") == report
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["vocab_size"], config["quantization"]) == ("paraformer", len(TOKENS), None)
    card = (out / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["language"], front["library_name"]) == ("apache-2.0", "zh", "mlx")
    assert "[LICENSE](LICENSE)" in card
    assert "Alibaba Group" in card
    assert (out / "LICENSE").read_text("utf-8") == "be kind"
    assert set(report.sha256) == {"model.safetensors", "config.yaml", "am.mvn", "tokens.json"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_result_loads_in_mlx(model_dir, tmp_path):
    mlx_model = pytest.importorskip("mlx_model")
    convert.convert(model_dir, tmp_path / "out")
    model = mlx_model.load(tmp_path / "out")
    source = random_tensors(torch_shapes())
    kernel = np.array(model.predictor.cif_conv1d.weight)
    np.testing.assert_array_equal(kernel, np.moveaxis(source["predictor.cif_conv1d.weight"], 1, 2))
    assert kernel.shape == (WIDTH, 3, WIDTH)


def test_inspect_tells_the_same_and_writes_nothing(model_dir, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    report = convert.inspect(model_dir)
    assert sorted(tmp_path.rglob("*")) == before
    assert report.output is None
    assert report.tensors == convert.convert(model_dir, tmp_path / "out").tensors


def test_predictor_v1_is_depthwise(make_model, tmp_path):
    tensors = random_tensors(torch_shapes(predictor="CifPredictor"))
    directory = make_model(config={**CONFIG, "predictor": "CifPredictor"}, tensors=tensors)
    convert.convert(directory, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")["predictor.cif_conv1d.weight"]
    assert found.shape == (WIDTH, 3, 1)
    np.testing.assert_array_equal(found[:, :, 0], tensors["predictor.cif_conv1d.weight"][:, 0, :])


def test_a_dense_kernel_of_the_wrong_predictor_is_refused(make_model, tmp_path):
    directory = make_model(config={**CONFIG, "predictor": "CifPredictor"})
    with pytest.raises(
        CheckpointError, match=r"cif_conv1d.weight' has shape \(8, 8, 3\), but config.yaml asks for \(8, 1, 3\)"
    ):
        convert.convert(directory, tmp_path / "out")


def test_training_leftovers_are_dropped_with_their_reasons(make_model, tmp_path):
    extra = {"ctc.ctc_lo.weight": (8, 8), "criterion_att.buffer": (1,), "specaug.x": (1,), "normalize.mean": (12,)}
    directory = make_model(tensors=random_tensors({**torch_shapes(), **extra}))
    report = convert.convert(directory, tmp_path / "out")
    reasons = {row.source: row.reason for row in report.tensors if row.target is None}
    assert set(reasons) == DROPPED | set(extra)
    assert reasons["ctc.ctc_lo.weight"].startswith("auxiliary CTC loss")
    assert reasons["decoder.embed.0.weight"] == "used by the training sampler only"


def test_decoders2_where_num_blocks_exceeds_att_layer_num(make_model, tmp_path):
    config = {**CONFIG, "decoder_conf": {**CONFIG["decoder_conf"], "num_blocks": 3}}
    shapes = torch_shapes()
    for name, shape in list(shapes.items()):
        if name.startswith("decoder.decoders.1.") and "src_attn" not in name and "norm3" not in name:
            shapes[name.replace("decoders.1.", "decoders2.0.")] = shape
    tensors = random_tensors(shapes)
    convert.convert(make_model(config=config, tensors=tensors), tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    name = "decoder.decoders2.0.self_attn.fsmn_block.weight"
    np.testing.assert_array_equal(found[name], np.moveaxis(tensors[name], 1, 2))
    assert found[name].shape == (WIDTH, KERNEL, 1)


def test_a_model_without_cmvn(make_model, tmp_path):
    directory = make_model(config={**CONFIG, "frontend_conf": {**CONFIG["frontend_conf"], "cmvn_file": None}})
    (directory / "am.mvn").unlink()
    report = convert.convert(directory, tmp_path / "out")
    assert "frontend.cmvn_shift" not in load_file(tmp_path / "out" / "model.safetensors")
    assert report.config["frontend"]["cmvn"] is False


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_cmvn_in_float32(model_dir, tmp_path, dtype):
    mx = pytest.importorskip("mlx.core")
    report = convert.convert(model_dir, tmp_path / "out", dtype=dtype)
    found = mx.load(str(tmp_path / "out" / "model.safetensors"))
    assert {str(array.dtype) for name, array in found.items() if "cmvn" not in name} == {f"mlx.core.{dtype}"}
    assert found["frontend.cmvn_shift"].dtype == mx.float32
    assert found["frontend.cmvn_shift"].shape == (FEATS,)
    source = random_tensors(torch_shapes())["decoder.output_layer.weight"]
    expected = mx.array(source).astype(getattr(mx, dtype))  # MLX's own rounding as the oracle
    assert mx.array_equal(found["decoder.output_layer.weight"], expected).item()
    assert f"float32 weights are rounded to {dtype}, to nearest even" in report.notes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sources_are_widened_exactly(make_model, tmp_path, dtype):
    torch = pytest.importorskip("torch")
    directory = make_model()
    (directory / "model.safetensors").unlink()
    state = {
        name: torch.from_numpy(array).to(getattr(torch, dtype))
        for name, array in random_tensors(torch_shapes()).items()
    }
    torch.save({"model": {f"module.{name}": array for name, array in state.items()}}, directory / "model.pt")
    report = convert.convert(directory, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name in set(state) - DROPPED:
        np.testing.assert_array_equal(found[name], expected_array(name, state[name].float().numpy()), err_msg=name)
    assert f"{dtype} weights are widened to float32, exactly" in report.notes
    assert {row.dtype for row in report.tensors} == {dtype}


def test_shards_and_their_index(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "SHARD_BYTES", 3000)
    out = tmp_path / "out"
    convert.convert(model_dir, out)
    index = json.loads((out / "model.safetensors.index.json").read_text("utf-8"))
    files = sorted(path.name for path in out.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert sorted(set(index["weight_map"].values())) == files
    for name, file in index["weight_map"].items():
        assert name in load_file(out / file)
    assert index["metadata"]["total_size"] == sum(a.nbytes for file in files for a in load_file(out / file).values())
    mlx_model = pytest.importorskip("mlx_model")
    assert mlx_model.load(out).config.vocab_size == len(TOKENS)


def test_a_sharded_source_is_read_through_its_index(model_dir, tmp_path):
    whole = load_file(model_dir / "model.safetensors")
    (model_dir / "model.safetensors").unlink()
    names = sorted(whole)
    parts = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, part in parts.items():
        save_file({name: whole[name] for name in part}, model_dir / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (model_dir / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    report = convert.convert(model_dir, tmp_path / "out")
    assert len(report.tensors) == len(whole)
    assert {"a.safetensors", "b.safetensors", "model.safetensors.index.json"} <= set(report.sha256)


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in random_tensors(torch_shapes()).items() if key != name}


BAD = {
    "missing tensor": ({"tensors": without("encoder.after_norm.bias")}, CheckpointError, "'encoder.after_norm.bias'"),
    "missing kernel": (
        {"tensors": without("predictor.cif_conv1d.weight")},
        CheckpointError,
        "predictor.cif_conv1d.weight",
    ),
    "surplus tensor": (
        {"tensors": random_tensors({**torch_shapes(), "encoder.extra.weight": (2,)})},
        CheckpointError,
        "encoder.extra.weight",
    ),
    "wrong shape": (
        {"tensors": random_tensors({**torch_shapes(), "encoder.after_norm.bias": (9,)})},
        CheckpointError,
        "(9,)",
    ),
    "vocabulary": ({"tokens": [*TOKENS, "more"]}, AssetError, "has 9 tokens, but the output layer"),
    "more blocks than tensors": (
        {"config": {**CONFIG, "encoder_conf": {**CONFIG["encoder_conf"], "num_blocks": 500}}},
        ConfigError,
        "500 blocks",
    ),
    "more blocks": (
        {"config": {**CONFIG, "encoder_conf": {**CONFIG["encoder_conf"], "num_blocks": 4}}},
        CheckpointError,
        "missing",
    ),
    "NaN": (
        {"tensors": {**random_tensors(torch_shapes()), "encoder.after_norm.bias": np.full(WIDTH, np.nan, np.float32)}},
        CheckpointError,
        "NaN",
    ),
    "integers": (
        {"tensors": {**random_tensors(torch_shapes()), "encoder.after_norm.bias": np.zeros(WIDTH, np.int8)}},
        CheckpointError,
        "int8",
    ),
    "seaco": (
        {"tensors": random_tensors({**torch_shapes(), "seaco_decoder.a.weight": (2,)})},
        CheckpointError,
        "SeacoParaformer",
    ),
    "family": ({"config": {**CONFIG, "model": "WhisperWarp"}}, ConfigError, "WhisperWarp"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(make_model, tmp_path, case):
    parts, error, reason = BAD[case]
    directory = make_model(**parts)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error) as caught:
        convert.convert(directory, tmp_path / "deep" / "out")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"bits": 3}, {"bits": 4, "group_size": 48}])
def test_options_that_do_not_exist_are_refused(model_dir, tmp_path, options):
    with pytest.raises(MlxFunasrError, match="is not supported"):
        convert.convert(model_dir, tmp_path / "out", **options)


def test_a_disk_that_returns_other_bits_is_noticed(model_dir, tmp_path, monkeypatch):
    """The verification reads the file, not what was meant to be written."""
    written = pipeline.write_weights

    def corrupt(plan, stage):
        files = written(plan, stage)
        raw = bytearray(files[0].read_bytes())
        raw[-2] ^= 1
        files[0].write_bytes(raw)
        return files

    monkeypatch.setattr(pipeline, "write_weights", corrupt)
    with pytest.raises(OutputError, match="verification failed: 1 of"):
        convert.convert(model_dir, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_importing_convert_imports_neither_torch_nor_mlx():
    code = "import sys, convert; print(sorted(m for m in ('torch', 'mlx', 'mlx.core', 'numpy') if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_a_safetensors_source_needs_no_torch(model_dir, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; import convert; "
        "print(len(convert.convert(sys.argv[1], sys.argv[2]).tensors))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(model_dir), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(found.stdout) == len(torch_shapes())


def test_a_file_older_than_torch_1_6_says_so_where_torch_is_absent(model_dir, tmp_path):
    (model_dir / "model.safetensors").unlink()
    (model_dir / "model.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    code = (
        "import sys; sys.modules['torch'] = None; import convert\n"
        "try: convert.convert(sys.argv[1], sys.argv[2])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(model_dir), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout == (
        f"DependencyError {model_dir}/model.pt is in the format of torch before 1.6, which only torch reads: "
        "pip install torch; or save it again where torch is installed: torch.save(torch.load(FILE), FILE)\n"
    )


def test_a_conversion_is_no_source(model_dir, tmp_path):
    convert.convert(model_dir, tmp_path / "out")
    with pytest.raises(UsageError, match="that mlx-funasr wrote already"):
        convert.inspect(tmp_path / "out")


@pytest.mark.shared
def test_a_sentencepiece_model_alone_gives_the_vocabulary(shared, make_model, tmp_path):
    pytest.importorskip("sentencepiece")
    folder = shared / "sidecars/sense_voice_small"
    expected = json.loads((folder / "tokens.json").read_text("utf-8"))
    config = {**CONFIG, "tokenizer": "SentencepiecesTokenizer", "tokenizer_conf": {}}
    directory = make_model(config=config, tensors=random_tensors(torch_shapes(vocab=len(expected))))
    (directory / "tokens.json").unlink()
    (directory / "bpe.model").write_bytes((folder / "chn_jpn_yue_eng_ko_spectok.bpe.model").read_bytes())
    report = convert.convert(directory, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "tokens.json").read_text("utf-8")) == expected
    assert report.config["tokenizer"]["kind"] == "SentencepiecesTokenizer"
    assert "bpe.model" in report.sha256
