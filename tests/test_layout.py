"""The dependency direction and the house's sizes, enforced; the rules are restated in this file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("mlx_model", "convert", "parity", "reports")
RECIPE = ROOT / "parity/demo"  # how the bundled model was trained; not part of the package
FILES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    if RECIPE not in path.parents or path.name == "__init__.py"
)  # fmt: skip
OURS = {*PACKAGES, "mlx_funasr"}

# folder -> what of ours it may import
MAY_IMPORT = {
    "mlx_model": {"mlx_model"},
    "reports": {"reports"},
    "convert": {"convert", "mlx_model", "reports"},
    "parity": {"parity", "mlx_model", "reports"},
}
# third party -> the only files that may import it
ONLY_IN = {
    "torch": {
        "convert/legacy_file.py",
        "parity/bench/exports.py",
        "parity/bench/funasr_modes.py",
        "parity/bench/funasr_side.py",
        "parity/families/fsmn_vad_streaming/reference.py",
        "parity/families/paraformer/reference.py",
        "parity/sides/reference.py",
    },
    "funasr": {
        "parity/bench/funasr_modes.py",
        "parity/families/fsmn_vad_streaming/reference.py",
        "parity/families/paraformer/reference.py",
        "parity/sides/reference.py",
    },
    "soundfile": {
        "mlx_model/audio/libsndfile.py",
        "parity/cer/clips.py",
        "parity/cer/parts.py",
        "parity/sides/reference.py",
        "parity/layers/invariance.py",
        "parity/layers/selftest.py",
    },
    "av": {"mlx_model/audio/ffmpeg.py"},
    "soxr": {"mlx_model/audio/files.py"},
    "rapidfuzz": {"parity/cer/score.py"},
    "ray": {"parity/cer/distributed.py"},
    "onnx": {"parity/bench/exports.py"},
    "onnxruntime": {"parity/bench/exports.py", "parity/bench/onnxruntime_side.py"},
    "funasr_onnx": {"parity/bench/onnxruntime_side.py"},
    "sherpa_onnx": {"parity/bench/sherpa_side.py"},
    "funasr_mlx": {"parity/bench/exports.py", "parity/bench/funasr_mlx_side.py"},
}


def imported(tree: ast.Module) -> set[str]:
    """Return the top-level names a module imports anywhere, type-checking blocks excepted."""
    skipped = {
        id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }  # fmt: skip
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_docstring_and_size(path: Path):
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    name = str(path.relative_to(ROOT))
    names = imported(tree)
    assert names & OURS <= MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    for package, allowed in ONLY_IN.items():
        assert package not in names or name in allowed, f"{name} imports {package}"
    assert ast.get_docstring(tree), f"{name} must open with a paragraph: what it holds, what it must not import"
    assert text.count("\n") <= 400
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or node.lineno) - node.lineno < 60, f"{name}: {node.name} is too long"


BLOCKED = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked by this test", name=name)
sys.meta_path.insert(0, Refuse())
for module in {modules}:
    importlib.import_module(module)
print(",".join(sorted({{name.split(".")[0] for name in sys.modules}} & {watched})))
"""


def loaded(modules: list[str], blocked: set[str], watched: set[str]) -> set[str]:
    """Import modules in a fresh interpreter that refuses `blocked`; return which of `watched` got loaded."""
    code = BLOCKED.format(modules=modules, blocked=blocked, watched=watched)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.strip().split(",")) - {""}


def modules_of(package: str) -> list[str]:
    files = [path for path in FILES if path.relative_to(ROOT).parts[0] == package]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]


def test_everything_imports_without_torch_and_funasr():
    modules = [module for package in PACKAGES for module in modules_of(package)]
    assert len(modules) > 50
    assert loaded([*modules, "mlx_funasr"], {"torch", "funasr"}, {"torch", "funasr"}) == set()


@pytest.mark.parametrize(
    ("package", "never"),
    [
        ("mlx_model", {"convert", "parity", "reports", "mlx_funasr"}),
        ("convert", {"parity", "mlx_funasr"}),
        ("parity", {"convert", "mlx_funasr"}),
        ("reports", {"mlx_model", "convert", "parity", "mlx_funasr", "mlx"}),
    ],
)
def test_folders_load_only_what_they_may(package: str, never: set[str]):
    assert loaded(modules_of(package), {"torch", "funasr"}, never) == set()


def test_the_command_line_starts_without_mlx_and_torch():
    assert loaded(["mlx_funasr"], {"torch", "funasr"}, {"mlx", "numpy", "jiwer", "jinja2"}) == set()
