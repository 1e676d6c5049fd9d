"""Model cards. Oracles: markdown-it for what a reader sees, PyYAML for what a hub reads, the texts by hand."""

import json
import os
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

import convert
from convert.card import front_matter, parts, precision_of, suggested_repository, with_precision


def card_of(model_dir: Path, out: Path, **options) -> tuple[dict, str]:
    """Convert and return the card's front matter and body."""
    convert.convert(model_dir, out, **options)
    card = (out / "README.md").read_text("utf-8")
    empty, front, body = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), body


def name_it(model_dir: Path, **names: str) -> None:
    (model_dir / "configuration.json").write_text(json.dumps({"model_name_in_hub": names}), "utf-8")


def seen(body: str) -> tuple[list[str], list[str], list[str]]:
    """Return the headings, the links' targets, and the raw HTML of a card as CommonMark reads it."""
    tokens = MarkdownIt("commonmark").parse(body)
    inner = [child for token in tokens for child in token.children or []]
    titles = [tokens[index + 1].content for index, token in enumerate(tokens) if token.type == "heading_open"]
    links = [str(token.attrs["href"]) for token in inner if token.type == "link_open"]
    links += [str(token.attrs["src"]) for token in inner if token.type == "image"]
    return titles, links, [token.content for token in [*tokens, *inner] if token.type.startswith("html")]


def test_a_local_model_has_no_base_model_and_its_precision_stands_in_the_title(model_dir, tmp_path):
    front, body = card_of(model_dir, tmp_path / "out", dtype="float16")
    assert "base_model" not in front
    assert "base_model_relation" not in front
    assert front["tags"] == ["mlx", "funasr", "speech-recognition", "float16"]
    assert seen(body)[0][0] == "tiny (MLX, float16)"


def test_a_hub_id_becomes_the_base_model(model_dir, tmp_path):
    name_it(model_dir, ms="iic/speech_tiny-zh", hf="")
    front, body = card_of(model_dir, tmp_path / "out")
    assert (front["base_model"], front["base_model_relation"]) == ("iic/speech_tiny-zh", "quantized")
    assert front["license_name"] == "funasr-model-license"
    assert seen(body)[0][0] == "iic/speech_tiny-zh (MLX, float32)"
    assert "https://modelscope.cn/models/iic/speech_tiny-zh" in seen(body)[1]


@pytest.mark.parametrize("name", ["iic/x\nlicense: mit", "iic/<b>", "a/b/c", "iic/x]", "  iic/x", "iic/../x"])
def test_what_only_looks_like_a_hub_id_does_not(model_dir, tmp_path, name):
    name_it(model_dir, ms=name)
    front, body = card_of(model_dir, tmp_path / "out")
    assert "base_model" not in front
    assert all("modelscope.cn" not in target for target in seen(body)[1])


@pytest.mark.parametrize(
    "licence",
    ["LICENSE", "LICENSE.](javascript:alert(1))", "LICENSE.<script>", "LICENSE.a b", "NOTICE.`x`", b"LICENSE.\xff\xfe"],
)
def test_licence_files_are_linked_by_safe_names(model_dir, tmp_path, licence):
    (model_dir / os.fsdecode(licence)).write_text("be kind", "utf-8")
    _, body = card_of(model_dir, tmp_path / "out")
    _, links, raw = seen(body)
    (target,) = [target for target in links if not target.startswith("https://")]
    assert (tmp_path / "out" / target).read_text("utf-8") == "be kind"
    assert raw == []


def test_two_licences_whose_names_become_one_are_both_kept(model_dir, tmp_path):
    for name in ("LICENSE.a b", "LICENSE.a_b", "LICENSE.a*b"):
        (model_dir / name).write_text(name, "utf-8")
    card_of(model_dir, tmp_path / "out")
    kept = sorted(path.read_text("utf-8") for path in (tmp_path / "out").glob("LICENSE*"))
    assert kept == ["LICENSE.a b", "LICENSE.a*b", "LICENSE.a_b"]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"license": "apache-2.0", "language": "zh"}, {"license": "apache-2.0", "language": "zh"}),
        ({"license": "Apache License 2.0"}, {"license": "apache-2.0"}),
        ({"language": ["zh", "en"]}, {"license": "unknown", "language": ["zh", "en"]}),
        ({"license": "mit\nbase_model: x/y"}, {"license": "unknown"}),
        ({"license": {"a": 1}, "language": [1]}, {"license": "unknown"}),
        ({"license": "other", "license_link": "javascript:alert(1)"}, {"license": "other"}),
        ({"license_link": 'https://x"onload='}, {"license": "unknown"}),
        ({"license": "other", "license_link": "LICENSE"}, {"license": "other", "license_link": "LICENSE"}),
    ],
)
def test_the_licence_fields_are_taken_over_where_they_are_some(model_dir, tmp_path, stated, expected):
    (model_dir / "README.md").write_text(f"---\n{yaml.safe_dump(stated)}---\nhello\n", "utf-8")
    front, _ = card_of(model_dir, tmp_path / "out")
    found = {key: front[key] for key in ("license", "license_name", "license_link", "language") if key in front}
    assert found == expected


def test_a_released_model_with_a_licence_of_its_own_has_no_other_beside_it(model_dir, tmp_path):
    name_it(model_dir, ms="iic/x")
    (model_dir / "README.md").write_text("---\nlicense: Apache License 2.0\n---\n", "utf-8")
    front, _ = card_of(model_dir, tmp_path / "out")
    assert front["license"] == "apache-2.0"
    assert not {"license_name", "license_link"} & front.keys()


def test_what_convert_suggests():
    assert suggested_repository("iic/paraformer-large", "float16") == "mlx-community/paraformer-large-fp16"
    assert suggested_repository("iic/paraformer-large", "bfloat16") == "mlx-community/paraformer-large-bf16"
    assert suggested_repository("paraformer", "float32") == "mlx-community/paraformer-fp32"
    assert suggested_repository("a/x", "8-bit") == "mlx-community/x-8bit"
    assert suggested_repository("a/x", "4 to 8 bit") == "mlx-community/x-4-8bit"


def test_precisions():
    assert precision_of({"dtype": "float16", "quantization": None}) == "float16"
    assert precision_of({"dtype": "float32", "quantization": {"bits": 8, "modules": ["a"]}}) == "8-bit"
    assert precision_of({"dtype": "float32", "quantization": {"bits": 4, "modules": {"a": 4, "b": 4}}}) == "4-bit"
    assert precision_of({"dtype": "float32", "quantization": {"bits": 4, "modules": {"a": 4, "b": 8}}}) == "4 to 8 bit"


def test_a_card_quantised_later_says_so(model_dir, tmp_path):
    convert.convert(model_dir, tmp_path / "out")
    card = with_precision((tmp_path / "out" / "README.md").read_text("utf-8"), "float32", "4 to 8 bit")
    front, body = parts(card)
    assert front["tags"][-1] == "4 to 8 bit"
    assert seen(body)[0][0] == "tiny (MLX, 4 to 8 bit)"
    assert "stored in 4 to 8 bit. " in body
    assert "float32" not in card


@pytest.mark.parametrize("card", ["hello\n", "---\n- a\n---\nhello\n", "---\na: [\n---\n", "", "---\n"])
def test_a_card_of_somebody_elses_making_is_left_as_it_is(card):
    assert parts(card) == ({}, card)
    assert with_precision(card, "float32", "8-bit") == card


def test_front_matter_comes_back():
    fields = {"license": "other", "tags": ["a", "8-bit"]}
    assert parts(front_matter(fields) + "\n# x\n") == (fields, "\n# x\n")
