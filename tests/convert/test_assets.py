"""config.yaml -> configuration, the vocabulary, the family. Oracles: the released sidecars, FunASR's rules by hand."""

import copy
import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from tiny_model import CONFIG, TOKENS

from convert.architectures import MET, TABLES, UNSUPPORTED
from convert.assets import modern, read_config, read_tokens
from convert.identify import check_tensors, family_of_config
from convert.sources import resolve
from mlx_model.errors import AssetError, CheckpointError, ConfigError
from mlx_model.families import FAMILIES

FAMILY = next(table for table in TABLES if table.name == "paraformer")
UNCONVERTED = next(iter(UNSUPPORTED))


def edited(**sections) -> dict:
    config = copy.deepcopy(CONFIG)
    for key, value in sections.items():
        config[key] = (
            {**config[key], **value} if isinstance(value, dict) and isinstance(config.get(key), dict) else value
        )
    return config


def parse(model_dir: Path, config: dict):
    (model_dir / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    source = resolve(model_dir)
    return read_config(source, FAMILY, len(TOKENS), "float32"), source.notes


def test_sections_reach_the_configuration(model_dir):
    config, notes = parse(model_dir, CONFIG)
    assert (config.encoder.num_blocks, config.decoder.kernel_size, config.predictor.tail_threshold) == (3, 5, 0.45)
    assert (config.frontend.lfr_m, config.frontend.dither, config.frontend.cmvn) == (3, 0.0, True)
    assert (config.vocab_size, config.blank_id, config.sos, config.eos) == (8, 0, 1, 2)
    assert (config.predictor_class, config.tokenizer.kind, config.dtype) == (
        "CifPredictorV2",
        "CharTokenizer",
        "float32",
    )
    assert "config.yaml: ignored, training only: specaug" in notes
    assert "encoder_conf: ignored dropout_rate (dropout acts in training only)" in notes


def test_dither_is_kept_and_noted(model_dir):
    section = {key: value for key, value in CONFIG["frontend_conf"].items() if key != "dither"}
    config, notes = parse(model_dir, {**CONFIG, "frontend_conf": section})
    assert config.frontend.dither == 1.0  # FunASR's default, which released configurations leave alone
    assert any(note.startswith("frontend dither is 1 in FunASR") for note in notes)


def test_a_top_level_argument_wins_over_model_conf_as_in_funasr(model_dir):
    config, _ = parse(model_dir, edited(model_conf={"sos": 5, "eos": None}) | {"sos": 3})
    assert (config.sos, config.eos) == (3, len(TOKENS) - 1)


def test_keys_that_the_class_never_reads_are_noted(model_dir):
    _, notes = parse(model_dir, {**CONFIG, "hydra_run_dir": "x", "device": "cuda"})
    assert "config.yaml: ignored, not read by Paraformer: device, hydra_run_dir" in notes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edited(encoder="SANMEncoderChunkOpt"), "encoder 'SANMEncoderChunkOpt' is not supported (only SANMEncoder)"),
        (edited(decoder="ContextualParaformerDecoder"), "decoder 'ContextualParaformerDecoder' is not supported"),
        (edited(predictor="CifPredictorV3"), "predictor 'CifPredictorV3' is not supported"),
        (edited(frontend="WavFrontendOnline"), "frontend 'WavFrontendOnline' is not supported"),
        (edited(tokenizer="HuggingfaceTokenizer"), "tokenizer 'HuggingfaceTokenizer' is not supported"),
        (edited(tokenizer=["CharTokenizer"]), "tokenizer ['CharTokenizer'] is not supported"),
        (edited(normalize="GlobalMVN"), "normalize = 'GlobalMVN' is not supported"),
        (edited(encoder_conf={"input_layer": "conv2d"}), "input_layer = 'conv2d' is not supported"),
        (edited(encoder_conf={"kernal_size": 11}), "unknown key 'kernal_size'; did you mean 'kernel_size'?"),
        (edited(encoder_conf={"num_blocks": "three"}), "num_blocks = 'three' must be of type int"),
        (edited(encoder_conf={"num_blocks": 10**9}), "must be from 1 to 512"),
        (edited(encoder_conf=[1]), "expected key: value pairs"),
        (edited(model_conf={"share_embedding": True}), "share_embedding = True is not supported"),
        (edited(model_conf={"ctc_weight": 1.0}), "ctc_weight = 1.0 is not supported"),
        (edited(model_conf={"predictor_bais": 1}), "unknown key 'predictor_bais'; did you mean 'predictor_bias'?"),
        (edited(model_conf={"sos": "x"}), "sos = 'x' must be of type int"),
        (edited(model_conf=3), "model_conf is a int"),
        (edited() | {"encoder_cnf": {}}, "unknown key 'encoder_cnf'; did you mean 'encoder_conf'?"),
        ({key: value for key, value in CONFIG.items() if key != "predictor"}, "no `predictor:`"),
        (edited(predictor_conf={"idim": 9}), "idim = 9 but the encoder's output_size is 8"),
    ],
)
def test_an_unsupported_or_misspelt_option_is_named(model_dir, change, reason):
    with pytest.raises(ConfigError) as caught:
        parse(model_dir, change)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", [*UNSUPPORTED])
def test_known_classes_are_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"model {name} .* is not supported"):
        family_of_config({"model": name})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({}, "no `model:`"),
        ({"model": 3}, "no `model:`"),
        ({"model": []}, "no `model:`"),
        ({"model": "Parafromer"}, "did you mean 'Paraformer'"),
        ({"model": "uniasr"}, "UniASR"),
        ({"model": "iic/speech_paraformer"}, "no class of FunASR"),
    ],
)
def test_an_unknown_family_is_refused(raw, reason):
    with pytest.raises(ConfigError, match=reason):
        family_of_config(raw)


@pytest.mark.parametrize(
    ("tensor", "cls"),
    [
        ("seaco_decoder.decoders.0.norm1.weight", "SeacoParaformer"),
        ("bias_encoder.weight_ih_l0", "ContextualParaformer"),
        ("predictor.upsample_cnn.weight", "BiCifParaformer"),
        ("predictor.cif_output2.bias", "BiCifParaformer"),
    ],
)
def test_the_alias_trap_a_config_that_says_paraformer_over_other_tensors(tensor, cls):
    with pytest.raises(CheckpointError, match=f"config.yaml says Paraformer, but .*{tensor}.* it is a {cls}"):
        check_tensors(FAMILY, ["encoder.after_norm.weight", tensor])


@pytest.mark.parametrize(
    ("cls", "said"),
    [("FsmnVADStreaming", "it is a FsmnVADStreaming .*, which has a config.yaml of its own"),
     (UNCONVERTED, f"it is a {UNCONVERTED} .*, which is not supported")],
)  # fmt: skip
def test_a_relative_is_told_where_it_can_be_converted(cls, said):
    with pytest.raises(CheckpointError, match=said):
        check_tensors(dataclasses.replace(FAMILY, foreign={"their.**": cls}), ["their.weight"])


@pytest.mark.reference
def test_the_classes_are_funasrs():
    """Oracle: the names that the installed FunASR registers in its sources."""
    spec = importlib.util.find_spec("funasr")
    assert spec is not None
    assert spec.origin is not None
    sources = [path.read_text("utf-8") for path in Path(spec.origin).parent.rglob("*.py")]
    registered = {name for text in sources for name in re.findall(r'register\("model_classes", "(\w+)"\)', text)}
    assert registered >= {*MET, *FAMILIES.values()}, {*MET, *FAMILIES.values()} - registered


def test_other_weights_are_refused_by_what_is_missing():
    with pytest.raises(CheckpointError, match=r"no tensor is called .*linear_q_k_v.*'encoder\.fsmn"):
        check_tensors(FAMILY, ["encoder.fsmn.0.weight"])


def tokens(model_dir: Path, text: str, name: str = "tokens.json") -> list[str]:
    (model_dir / "tokens.json").unlink()
    (model_dir / name).write_text(text, "utf-8")
    return read_tokens(resolve(model_dir))


def test_tokens_txt_is_one_token_a_line_as_funasr_reads_it(model_dir):
    assert tokens(model_dir, "<blank>\na b \n\u2028x\n<unk>\n", "tokens.txt") == ["<blank>", "a b", "\u2028x", "<unk>"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "not JSON"),
        ("{}", "found dict"),
        ("[]", "expected a list of tokens"),
        ('["a", 1, "<unk>"]', "entry 1 is 1"),
        ('["a", "<unk>", "a"]', "token 'a' stands there twice, as 0 and 2"),
        ('["a", "b"]', "unknown symbol '<unk>' is not among its 2"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_vocabulary_is_refused_by_name(model_dir, text, reason):
    with pytest.raises(AssetError) as caught:
        tokens(model_dir, text)
    assert "tokens.json" in str(caught.value)
    assert reason in str(caught.value)


def test_no_vocabulary_at_all(model_dir):
    (model_dir / "tokens.json").unlink()
    with pytest.raises(AssetError, match=r"has no tokens\.json"):
        read_tokens(resolve(model_dir))


ESPNET = {
    "model": "paraformer", "encoder": "sanm", "decoder": "paraformer_decoder_sanm", "predictor": "cif_predictor_v2",
    "frontend": "wav_frontend", "token_type": "char", "token_list": TOKENS, "split_with_space": True, "ngpu": 1,
    "output_dir": "/nfs/x", "preencoder": None, "preencoder_conf": {}, "postencoder": None, "use_amp": False,
    **{key: CONFIG[key] for key in ("model_conf", "encoder_conf", "decoder_conf", "predictor_conf", "frontend_conf")},
}  # fmt: skip


def test_an_espnet_style_config_is_the_same_model(model_dir):
    expected, _ = parse(model_dir, CONFIG)
    (model_dir / "tokens.json").unlink()
    found, notes = parse(model_dir, ESPNET)
    assert found == expected
    assert read_tokens(resolve(model_dir)) == TOKENS
    assert any("old ESPnet style: translated; 4 keys" in note and "ngpu, output_dir" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"preencoder": "linear"}, "preencoder = 'linear' is not supported"),
        ({"token_type": "word"}, "token_type = 'word' is not supported"),
        ({"encoder": "conformer"}, "encoder 'conformer' is not supported"),
    ],
)
def test_espnet_parts_that_are_gone_are_refused(model_dir, change, reason):
    with pytest.raises(ConfigError, match=reason):
        parse(model_dir, {**ESPNET, **change})


@pytest.mark.shared
def test_the_released_espnet_config_is_understood_and_names_its_class(shared, tmp_path):
    sidecar = shared / "sidecars/paraformer_online"
    for name in ("am.mvn", "tokens.json"):
        (tmp_path / name).write_bytes((sidecar / name).read_bytes())
    (tmp_path / "config.yaml").write_bytes((sidecar / "config_espnet_style.yaml").read_bytes())
    (tmp_path / "model.pt").touch()
    source = resolve(tmp_path)
    expected = json.loads((sidecar / "tokens.json").read_text("utf-8"))
    # The list inside this released file lost its `@@` marks and the quotes around `2`, `-` and the like.
    assert source.raw["token_list"] == [token.removesuffix("@@") for token in expected]
    assert read_tokens(source) == expected
    assert any("differs from tokens.json" in note for note in source.notes)
    assert family_of_config(modern(source)).name == "paraformer_streaming"


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "family"), [("paraformer_online", "paraformer_streaming")])
def test_released_sidecars_name_their_class(shared, folder, family):
    raw = yaml.safe_load((shared / "sidecars" / folder / "config.yaml").read_text("utf-8"))
    assert family_of_config(raw).name == family


@pytest.mark.shared
def test_pieces_of_a_real_sentencepiece_model_equal_its_published_vocabulary(shared):
    pytest.importorskip("sentencepiece")
    from convert.assets import sentencepiece_pieces

    folder = shared / "sidecars/sense_voice_small"
    expected = json.loads((folder / "tokens.json").read_text("utf-8"))
    assert sentencepiece_pieces(folder / "chn_jpn_yue_eng_ko_spectok.bpe.model") == expected
