"""The dependency direction and the house's sizes, enforced: design.md's lines, lazy and type-only imports included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_model.families import FAMILIES
from tests.conftest import ROOT

PACKAGES = ("mlx_model", "convert", "parity", "reports")
RECIPE = ROOT / "parity/demo"  # how the bundled model was trained; not part of the package
FILES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    if RECIPE not in path.parents or path.name == "__init__.py"
)  # fmt: skip
# A name of a module of ours inside a string: what imports by name is an import too ("module", "module:Class").
NAMED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?=:\w+$|$)")

# Who may import what inside a folder. A room is a file or a folder of it; what stands right of `<` may import what
# stands left of it, and what that may import in turn; rooms between commas never import each other.
LINES = """
mlx_model: errors < families < files < machine < config < ops_cpu < ops < parts < decoding < models, engines < loading
mlx_model: ops < ops_stream < parts
mlx_model: ops < ops_conv < parts
mlx_model: config < text < roles < models
mlx_model: text < decoding < pipelines
mlx_model: machine < audio < roles < pipelines < loading
mlx_model: loading, pipelines < commands
mlx_model: loading < mlx_model
parity: taps < facts < sides < decisions, faults < families < layers < parity
parity: sides < cer < precision
parity: layers < precision
parity: demo, sides < bench
parity: demo, layers < doctor
parity: bench, precision, parity, doctor < commands
"""
# And from folder to folder. What computes knows of reports what a report is; how it looks knows only the command line.
# And how a command ends: a long run says how it goes on.
SCHEMA = {f"reports.{name}" for name in ("schema", "checking", "environment", "writing", "ending")}
ACROSS: dict[str, set[str]] = {
    "mlx_model": set(),
    "reports": set(),
    "convert": {"mlx_model", *SCHEMA},
    "parity": {"mlx_model", *SCHEMA},
}
COMMAND_LINE = {"mlx_funasr", "mlx_model.commands", "convert.commands", "parity.commands"}  # imports all of the five
PUBLISHING = {"convert.markup", "convert.proof"}  # a model card carries reports as pages: it shows them as commands do
# Of one family: found by its name, and imported by families' files alone. What else imports one serves that one only.
FOLDERS = ("mlx_model.config", "mlx_model.models", "convert.architectures", "parity.families")  # module_of's
FAMILYS = re.compile(rf"({'|'.join(map(re.escape, FOLDERS))})\.({'|'.join(FAMILIES)})(\.|$)")
# third party -> the only files that may import it: patterns, so that a new family edits no list
ONLY_IN = {
    "torch": r"convert/legacy_file|parity/((sides|families/\w+)/reference|sides/(halves|proof)|"
    r"bench/(exports|funasr_modes|funasr_side))",
    "funasr": r"parity/((sides|families/\w+)/reference|sides/halves|bench/funasr_modes)",
    "soundfile": r"mlx_model/audio/libsndfile|parity/(cer/(clips|parts)|sides/reference|layers/(invariance|selftest))",
    "av": r"mlx_model/audio/ffmpeg",
    "soxr": r"mlx_model/audio/files",
    "scipy": r"mlx_model/decoding/clustering|parity/cer/diarization",
    "sklearn": r"mlx_model/decoding/clustering",
    "umap": r"mlx_model/decoding/clustering",
    "pyannote": r"parity/cer/diarization",
    "rapidfuzz": r"parity/cer/score",
    "ray": r"parity/cer/distributed",
    "hatchling": r"mlx_model/machine/wheel_hook",
    "onnx": r"parity/bench/exports",
    "onnxruntime": r"parity/bench/(exports|onnxruntime_side)",
    "funasr_onnx": r"parity/bench/onnxruntime_side",
    "sherpa_onnx": r"parity/bench/sherpa_side",
    "funasr_mlx": r"parity/bench/(exports|funasr_mlx_side)",
}


def name_of(path: Path) -> str:
    """Return a module's name, that of the package for its __init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in [*FILES, ROOT / "mlx_funasr.py"]}


def imported(module: str) -> set[str]:
    """Return what a module imports anywhere, in functions and for types as well: modules of ours, others' top names."""
    names: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are written in full"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in TREES else str(node.module) for name in inner}
    return {name if name in TREES else name.split(".")[0] for name in names} - {module}


def named(module: str) -> set[str]:
    """Return the modules of ours whose names a module holds as text, for something to import; `module_of` is free."""
    found: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (name := NAMED.match(node.value)):
            words = name[0].split(".")
            found |= {".".join(words[:stop]) for stop in range(2, len(words) + 1)} & TREES.keys()
    return found - {module, *FOLDERS}


IMPORTS = {module: imported(module) for module in TREES}


def room_of(module: str) -> str:
    """Return the file or folder that LINES speak of."""
    return ".".join(module.split(".")[:2])


def rooms_below() -> dict[str, set[str]]:
    """Return {room: the rooms it may import} as LINES say."""
    below: dict[str, set[str]] = {}
    for line in LINES.strip().splitlines():
        package, _, chain = line.partition(": ")
        lower: set[str] = set()
        for floor in chain.split(" < "):
            rooms = {name if name == package else f"{package}.{name}" for name in floor.split(", ")}
            for room in rooms:
                below.setdefault(room, set()).update(lower)
            lower = lower | rooms
    for _ in below:  # as often as there are rooms is often enough
        for rooms in below.values():
            rooms.update(*[below[room] for room in rooms])
    return below


BELOW = rooms_below()


def forbidden(module: str) -> set[str]:
    """Return what a module imports, or names for something to import, against the lines."""
    package, room = module.split(".")[0], room_of(module)
    wrong: set[str] = set()
    for other in IMPORTS[module] | named(module):
        there = room_of(other)
        if other not in TREES:
            path = module.replace(".", "/")
            ok = other not in ONLY_IN or re.fullmatch(ONLY_IN[other], path) is not None
        elif FAMILYS.match(other) and not FAMILYS.match(module):
            ok = False
        elif (COMMAND_LINE | PUBLISHING) & {module, room}:
            ok = True
        elif other.split(".")[0] != package:
            ok = not {other.split(".")[0], there}.isdisjoint(ACROSS[package])
        else:
            ok = there == room or package in ("convert", "reports") or there in BELOW.get(room, ())
        wrong |= set() if ok else {other}
    return wrong


@pytest.mark.parametrize("module", TREES)
def test_a_file_imports_only_what_the_lines_let_it(module: str):
    assert forbidden(module) == set()


def test_the_lines_name_every_room():
    """And no room is below itself: the lines themselves have no circle."""
    rooms = {room_of(module) for module in TREES if module.split(".")[0] in ("mlx_model", "parity")}
    assert rooms <= BELOW.keys()
    assert not [room for room, below in BELOW.items() if room in below]


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of files that reach each other by imports: strongly connected, larger than one."""
    reached = {start: {start} for start in graph}
    for start, seen in reached.items():
        waiting = [start]
        while waiting:
            fresh = graph[waiting.pop()] & graph.keys() - seen
            seen |= fresh
            waiting += fresh
    rings = {frozenset(other for other in seen if start in reached[other]) for start, seen in reached.items()}
    return [{*ring} for ring in rings if len(ring) > 1]


def test_no_circle():
    assert circles(IMPORTS) == []


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}) == [{"a", "b", "c"}]




@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_docstring_and_size(path: Path):
    tree, name = TREES[name_of(path)], path.relative_to(ROOT)
    assert ast.get_docstring(tree), f"{name} must open with a paragraph: what it holds, what it must not import"
    assert path.read_text("utf-8").count("\n") <= 400
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


def modules_of(*patterns: str) -> list[str]:
    found = [module for module in TREES if any(re.match(rf"{pattern}(\.|$)", module) for pattern in patterns)]
    assert found, patterns
    return found


def test_everything_imports_without_torch_and_funasr():
    modules = modules_of(*PACKAGES)
    assert len(modules) > 50
    assert loaded([*modules, "mlx_funasr"], {"torch", "funasr"}, {"torch", "funasr"}) == set()


@pytest.mark.parametrize(
    ("modules", "never"),
    [
        ([r"mlx_model(?!\.commands)"], {"convert", "parity", "reports", "mlx_funasr"}),
        (["mlx_model.errors", "mlx_model.families", "mlx_model.config"], {"numpy", "mlx"}),
        (["mlx_model.machine.safetensors", "mlx_model.files", "parity.taps"], {"mlx"}),
        (["mlx_model.machine.prebuilt"], {"mlx", "numpy"}),  # a wheel is built where neither is
        (["convert"], {"parity", "mlx_funasr"}),
        (["parity"], {"convert", "mlx_funasr"}),
        (["reports"], {"mlx_model", "convert", "parity", "mlx_funasr", "mlx"}),
        # FunASR runs here, beside torch: a BLAS that is loaded for MLX would take over torch's products
        ([r"parity\.sides\.reference", r"parity\.families\.\w+\.reference"], {"mlx"}),
        (["mlx_funasr"], {"mlx", "numpy", "jiwer", "jinja2"}),  # the command line starts at once
    ],
)
def test_what_is_never_loaded(modules: list[str], never: set[str]):
    assert loaded(modules_of(*modules), {"torch", "funasr"}, never) == set()
