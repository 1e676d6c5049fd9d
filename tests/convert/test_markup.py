"""Escaping for model cards. Oracles: markdown-it (a CommonMark parser of others), PyYAML, html.escape, by hand."""

import html

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from convert.card import front_matter
from convert.markup import AUTOLINK, file_name, is_hub_id, link, plain, repository_part, text

HOSTILE = [
    "<script>alert(6)</script>\n---\nlicense: mit", "a\r\n\r\n# b", "`rm -rf`", "[x](javascript:alert(1))", "a|b|c",
    "![](https://e.example/p.png)", "**b** __c__ ~~d~~", "&lt;b&gt; &#60;", "\u202egnp.exe", "\x1b[2J\x00", "</title>",
    "_a_", "\\", "\\`", "<!-- x", "$x$", "https://e.example", "www.e.example", "\u2028---\u2029", "\ufeff\u200b",
]  # fmt: skip


def shown(value: str) -> str:
    """Return what a reader sees of a text in a card, as HTML."""
    return MarkdownIt("commonmark").renderInline(f"a {text(value)} b")


def literally(value: str) -> str:
    """Return the same text as HTML, in which nothing but itself is shown."""
    escaped = html.escape(AUTOLINK.sub(" ", plain(value)), quote=False)
    return f"a {escaped} b".replace('"', "&quot;")


@given(st.text(max_size=80))
def test_nothing_in_a_text_is_markdown_or_html(value: str):
    assert shown(value) == literally(value)


@pytest.mark.parametrize("value", HOSTILE)
def test_neither_is_anything_hostile(value: str):
    assert shown(value) == literally(value)
    assert len(text(value).splitlines()) <= 1
    assert "<" not in text(value)


@given(st.text(max_size=80))
def test_front_matter_holds_any_text_and_does_not_end_early(value: str):
    written = front_matter({"name": plain(value), "license": "other"})
    assert written.startswith("---\n")
    assert written.endswith("\n---\n")
    assert [line for line in written.splitlines() if line == "---"] == ["---", "---"]
    assert yaml.safe_load(written.split("---\n")[1]) == {"name": plain(value), "license": "other"}


def test_lengths_and_marks():
    assert plain("x" * 10_000) == "x" * 199 + "…"
    assert plain("a\nb\x1bc\u202ed\u2028e\udcff") == "a␊b␛c\ufffdd\ufffde\ufffd"
    assert text("speech_paraformer-large_asr_nat-zh-cn") == "speech_paraformer-large_asr_nat-zh-cn"


def test_links():
    assert link("LICENSE", "LICENSE") == "[LICENSE](LICENSE)"
    assert link("a](b)", "a](b) c") == "[a\\]\\(b\\)](a%5D%28b%29%20c)"
    assert link("x", "https://huggingface.co/a/b") == "[x](https://huggingface.co/a/b)"


@pytest.mark.parametrize("name", ["iic/speech_paraformer-large_asr.v1", "a/b", "FunAudioLLM/SenseVoiceSmall"])
def test_hub_ids(name: str):
    assert is_hub_id(name)


@pytest.mark.parametrize(
    "name",
    ["model", "a/b/c", "/a/b", "a/", "../b", "a/..", "a b/c", "a/b\n", "а/b", "a/b--c", "a/b.git", "a/" + "b" * 97],
)
def test_what_is_no_hub_id(name: str):
    """The last but three is a Cyrillic letter."""
    assert not is_hub_id(name)


def test_names_for_files_and_repositories():
    assert file_name("LICENSE.](x)<b>\udcff") == "LICENSE.__x__b__"
    assert repository_part("iic/speech_paraformer-large") == "speech_paraformer-large"
    assert repository_part("../../<b>..--x y.") == "b-x-y"
    assert repository_part("模型") == "model"
    assert is_hub_id(f"mlx-community/{repository_part('-' * 50 + 'x' * 300)}-fp16")
