"""What documents, docstrings and comments say of files is so: those they name exist. Oracle: the trees themselves."""

from __future__ import annotations

import importlib.util
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

from mlx_model.families import FAMILIES
from tests.conftest import ROOT

FOLDERS = ("mlx_model", "convert", "parity", "reports", "benchmarks", ".github")
SOURCES = sorted(
    path for path in [*ROOT.glob("*"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*"))]
    if path.suffix in (".py", ".md", ".toml", ".c") and path.name != "CHANGELOG.md"
)  # fmt: skip
# With a capital word in its place (NAME.py, parts/X.toml) a path is a pattern.
NAME = re.compile(r"(?<![\w./*-])((?:\.\./)*(?:[\w-]+/)*[\w-]+\.(?:py|c|toml))\b(?![\w/]|\.\w)")
PATTERN = re.compile(r"(^|/)[A-Z]+[./]")
# Of others, or of nobody: other projects', what must not be. FunASR's are named from `funasr/` on, once in a file.
NOT_OURS = {
    "utils.py", "load.py", "model.py", "hubconf.py", "load_pretrained_model.py", "zero_to_fp32.py", "compute-wer.py",
    "tools/compute-wer.py", "metrics/wer.py", "omegaconf/_utils.py", "__main__.py",
    "mlx-funasr-script.py", "transcribe_with_funasr.py", "scripts/paraformer/add-model-metadata.py",
    "models/lora/layers.py", "data2vec/data2vec_encoder.py", "models/emotion2vec/audio.py",
}  # fmt: skip


@cache
def paths() -> dict[str, list[str]]:
    """Return the files of ours by their last name."""
    found: dict[str, list[str]] = {}
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        found.setdefault(path.name, []).append(path.relative_to(ROOT).as_posix())
    return found


@cache
def funasr() -> Path | None:
    """Return the folder that FunASR's package lies in, where it is installed."""
    spec = importlib.util.find_spec("funasr")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent.parent


def prose(path: Path) -> str:
    """Return what a reader reads: a document whole, of a program its comments and strings."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING))


def is_there(name: str, path: Path) -> bool:
    """Return whether a file is called so: from the root, from where it is named, by its end; bare in the same folder.

    Without a folder before it a name means one's own house: gpu.py of benchmarks is not gpu.py of mlx_model.
    """
    if name in NOT_OURS or PATTERN.search(name):
        return True
    if name.startswith("funasr/"):
        return funasr() is None or (funasr() or ROOT).joinpath(name).exists()
    if (ROOT / name).exists() or (path.parent / name).resolve().exists():
        return True
    house = path.relative_to(ROOT).parts[0] + "/"
    ends = [found for found in paths().get(Path(name).name, []) if found.endswith(f"/{name}")]
    return any("/" in name or found.startswith(house) for found in ends)


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_files_that_are_named_exist(path: Path):
    found = {*NAME.findall(prose(path))}
    theirs = {Path(name).name for name in found if name.startswith("funasr/")}
    wrong = {name for name in found - theirs if not is_there(name, path)}
    assert wrong == set()


def test_names_are_found_in_prose():
    """What the test above would not see, it could not miss."""
    said = "See `parts/sanm.py`, frontend.py::fbank and (cpu_engine.c); not model.pt, x.py.bak, a/NAME.py or x.pyc."
    assert NAME.findall(said) == ["parts/sanm.py", "frontend.py", "cpu_engine.c", "a/NAME.py"]
    here = ROOT / "mlx_model/loading.py"
    assert is_there("parts/sanm.py", here)
    assert is_there("a/NAME.py", here)
    assert not is_there("parts/encoder.py", here)
    assert not is_there("score.py", here)  # parity/cer has one
    assert not is_there("a/names.py", here)


@pytest.mark.parametrize("funasr_class", FAMILIES.values())
def test_the_readme_has_a_row_for_every_family(funasr_class: str):
    assert f"`{funasr_class}`" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["convert/README.md", "mlx_model/README.md", ".github/CONTRIBUTING.md"])
def test_other_documents_list_no_families(name: str):
    """They point at mlx_model/families.py, or at what does: a list of two of them is one that somebody forgets."""
    text = (ROOT / name).read_text("utf-8")
    assert "families.py" in text or "convert/README.md" in text
    lists = [line for line in text.splitlines() if sum(f"`{each}`" in line for each in FAMILIES.values()) > 1]
    assert lists == []
