"""What PyPI would get: wheel and sdist are built, looked into, and the wheel is run in an environment without torch.

The environment holds the wheel, installed by pip, and links to the distributions that the wheel's own metadata asks
for, as they are installed here: nothing is downloaded, and torch, funasr and PyAV are not to be seen. Oracles: the
lists and sizes below, the demo's own numbers.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from mlx_model.engines import cpu_engine
from mlx_model.families import FAMILIES
from mlx_model.machine.bodies import builds
from mlx_model.machine.compiler import compiler, shipped
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("build") is None, reason="build is not installed (extra dev)"),
]
TORCH_FREE = pytest.mark.skipif(
    not (ROOT / "convert/torch_file.py").exists(), reason="model.pt is still read by torch (no convert/torch_file.py)"
)
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FOLDERS = ("convert", "mlx_model", "parity", "reports")
# What Python does not import, and so nothing but a list would miss: everything in the folders that is no program.
# Each pattern is of at least one file; the archives hold them all.
PATTERNS = (
    "*/py.typed", "mlx_model/*/*.c", "parity/demo/model/*", "parity/demo/trace/*",
    "parity/demo/speech/transcript/*.txt",
    "parity/demo/speech/wav/test/*/*.wav", "parity/taps/*.toml", "parity/taps/parts/*.toml",
    *(f"parity/families/{family}/taps.toml" for family in FAMILIES), "reports/templates/*",
)  # fmt: skip
BARE_LIMIT = 200e6  # bytes of an install without extras
UNSEEN = ("torch", "funasr", "av", "mkl", "scipy_openblas32", "huggingface_hub", "modelscope", "ray", "pytest")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist, the wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def foreign(names: set[str]) -> list[str]:
    """Return what belongs in no archive: tests, how the demo was trained, caches, anything of the shared data."""
    training = {path.relative_to(ROOT).as_posix() for path in (ROOT / "parity/demo").glob("*.py")}
    training.discard("parity/demo/__init__.py")
    training.add("mlx_model/machine/wheel_hook.py")  # how a wheel is built: of the sdist only
    wrong = re.compile(
        r"(^|/)(tests|benchmarks|notebooks|shared|runs|__pycache__|\.[^/]+)/|conftest|\.py[co]$|\.partial"
    )
    return sorted(name for name in names if wrong.search(name) or name in training)


def compiled_in(names: set[str]) -> set[str]:
    return {name for name in names if name.endswith(".so")}


def test_the_wheel_holds_what_this_machines_compiler_made_of_every_c_file(built):
    made = compiled_in(names_in(built[0]))
    expected = {
        shipped(source, *body.options).relative_to(ROOT).as_posix() for source, body in builds(ROOT / "mlx_model")
    }
    assert made == (expected if compiler() else set())
    *_, abi, system = built[0].stem.split("-")
    assert abi == "none"
    assert (system == "any") == (not made)


def test_the_wheel_holds_the_program_and_what_it_reads(built):
    names = names_in(built[0])
    for pattern in PATTERNS:
        data = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern) if path.is_file()}
        assert data, f"{pattern} is of no file"
        assert names >= data
    assert {name for name in names if name.endswith("/py.typed")} == {f"{folder}/py.typed" for folder in FOLDERS}
    assert foreign(names) == []
    assert {name.split("/")[0] for name in names} == {*FOLDERS, "mlx_funasr.py"}
    sources = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == {
        *(name for name in sources if not foreign({name})), "mlx_funasr.py",
    }  # fmt: skip
    assert len([name for name in names if name.endswith(".wav")]) == 40


def test_the_sdist_holds_what_the_wheel_is_made_of(built):
    with tarfile.open(built[1]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wheel = names_in(built[0])
    assert inside >= wheel - compiled_in(wheel)
    assert not compiled_in(inside)
    assert inside >= {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"}
    assert foreign(inside) == ["mlx_model/machine/wheel_hook.py"]


def test_the_metadata_says_what_pypi_shows(built):
    with zipfile.ZipFile(built[0]) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        found = HeaderParser().parsestr(archive.read(name).decode())
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "mlx-funasr = mlx_funasr:main" in archive.read(entry).decode()
    assert (found["License-Expression"], found["License-File"]) == ("MIT", "LICENSE")
    addresses = dict(line.split(", ", 1) for line in found.get_all("Project-URL", []))
    assert addresses.keys() == {"Homepage", "Source", "Issues", "Changelog"}
    assert all(address.startswith("https://") for address in addresses.values())
    assert "Typing :: Typed" in found.get_all("Classifier", [])
    requirements = [Requirement(line) for line in found.get_all("Requires-Dist", [])]
    always = {item.name for item in requirements if item.marker is None or "extra" not in str(item.marker)}
    assert not always & {"av", "torch", "funasr", "mkl", "scipy-openblas32", "huggingface-hub"}
    assert {"cpu", "mkl", "media", "reference", "hub"} <= set(found.get_all("Provides-Extra", []))
    assert "convert" not in found.get_all("Provides-Extra", [])


def needed(wheel: Path) -> dict[str, metadata.Distribution]:
    """Return the distributions that the wheel asks for without extras, and those that they ask for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    found: dict[str, metadata.Distribution] = {}
    asked, seen = [(Requirement(line), "") for line in lines], set()
    while asked:
        requirement, extra = asked.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        found[requirement.name] = distribution = metadata.distribution(requirement.name)
        assert requirement.specifier.contains(distribution.version, prereleases=True), requirement
        for wanted in {"", *requirement.extras}:
            if (requirement.name, wanted) not in seen:
                seen.add((requirement.name, wanted))
                asked += [(Requirement(line), wanted) for line in distribution.requires or []]
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the bar is for Linux; macOS has another back end")
def test_a_bare_install_is_small(built):
    with zipfile.ZipFile(built[0]) as archive:
        sizes = {"mlx-funasr": sum(item.file_size for item in archive.infolist())}
    for name, distribution in needed(built[0]).items():
        files = [Path(str(file.locate())) for file in distribution.files or []]
        sizes[name] = sum(file.stat().st_size for file in files if file.is_file())
    assert {"mlx", "mlx-cpu", "numpy", "soundfile"} <= sizes.keys()
    assert 100e6 < sum(sizes.values()) < BARE_LIMIT, sorted(sizes.items(), key=lambda item: -item[1])


class Bare:
    """An environment that holds the wheel and its dependencies and no compiler, and a folder to run it in, far away."""

    def __init__(self, folder: Path, wheel: Path):
        self.folder, self.bin, self.cache = folder / "work", folder / "venv/bin", folder / "cache"
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
        install = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "-q", "--no-deps"]
        subprocess.run([*install, "--no-index", "--no-compile", str(wheel)], check=True, capture_output=True)
        (self.site,) = (folder / "venv/lib").glob("python*/site-packages")
        for distribution in needed(wheel).values():
            for entry in {Path(str(file)).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
                target = Path(str(distribution.locate_file(entry)))
                if not (self.site / entry).exists():
                    (self.site / entry).symlink_to(target)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment |= {"CC": "/nonexistent", "XDG_CACHE_HOME": str(self.cache)}
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.folder, env=environment, capture_output=True, text=True
        )

    def kept_libraries(self) -> list[str]:
        """Return what was compiled in it."""
        return sorted(path.name for path in self.cache.glob("mlx-funasr/*.so"))

    def right(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    return Bare(tmp_path_factory.mktemp("bare"), built[0])


PUBLIC = """
import importlib.util, sys
assert [name for name in {unseen} if importlib.util.find_spec(name)] == []
import mlx_funasr
assert not any(name.startswith(("mlx.", "numpy")) for name in sys.modules)
assert callable(mlx_funasr.load) and callable(mlx_funasr.convert) and callable(mlx_funasr.inspect)
assert callable(mlx_funasr.parity.run) and callable(mlx_funasr.parity.check) and callable(mlx_funasr.cer.evaluate)
print(mlx_funasr.__file__)
"""


def test_the_public_names_and_the_version(bare):
    where = Path(bare.right("python", "-c", PUBLIC.format(unseen=UNSEEN)).strip())
    assert where == bare.site / "mlx_funasr.py"
    assert bare.right("mlx-funasr", "--version").strip() == PROJECT["version"]


@TORCH_FREE
def test_the_main_jobs_run_without_torch(bare):
    demo = bare.site / "parity/demo"
    document = json.loads(bare.right("mlx-funasr", "demo", "--out", "demo-run", "--json"))
    conversion, rate, proof = document["reports"]
    assert conversion["converted_parameters"] == 1_878_824
    assert (rate["engine"], rate["utterances"], round(rate["cer"], 4)) == ("mlx", 40, 0.0274)
    assert (proof["schema"], proof["verdict"]) == ("parity/2", "pass")
    assert (bare.folder / "demo-run/index.html").is_file()

    assert bare.right("mlx-funasr", "convert", str(demo / "model"), "model", "--bits", "8", "--json")
    wav = str(demo / "speech/wav/test/D0001/DEMOD0001W0001.wav")
    assert bare.right("mlx-funasr", "transcribe", "model", wav).strip() == "号码是九零四二七零八八"
    checked = json.loads(bare.right("mlx-funasr", "parity", "check", "model", str(demo / "trace"), "--json"))
    assert (checked["verdict"], checked["precision"]) == ("pass", "8bit")
    if cpu_engine.available():
        assert checked["numerics"]["engine"].startswith("CPU engine")
        assert bare.kept_libraries() == []  # the wheel brought them; `Bare` has no compiler
    assert json.loads(bare.right("mlx-funasr", "verify", "model", "--json"))["verdict"] == "pass"
    if re.search(r"\bdoctor\b", bare.right("mlx-funasr", "--help")):
        assert bare.run("mlx-funasr", "doctor").returncode in (0, 1)  # 1: it found something, as the want of a BLAS


def test_what_is_not_installed_is_named_with_its_extra(bare):
    for command, extra in (
        (("parity", "run", "x", "--model", "x", "--audio", "x"), None),
        (("upload", "x", "a/b"), None),
        (("convert", "iic/x", "out"), "hub"),
    ):
        done = bare.run("mlx-funasr", *command)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert extra is None or f"mlx-funasr[{extra}]" in done.stderr


def test_citation_and_version_agree():
    """Citation File Format 1.2.0: the fields that its schema requires, and those that it knows."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited.keys() >= {"cff-version", "message", "title", "authors"}
    assert cited["cff-version"] == "1.2.0"
    assert (cited["version"], cited["title"], cited["license"]) == (
        PROJECT["version"],
        PROJECT["name"],
        PROJECT["license"],
    )
    assert cited["repository-code"] == PROJECT["urls"]["Source"]
    for reference in cited["references"]:
        assert reference.keys() >= {"type", "title", "authors", "year"}
        assert reference["type"] == "conference-paper"
        assert all(author.keys() == {"family-names", "given-names"} for author in reference["authors"])
    assert [item["title"].split(":")[0] for item in cited["references"]] == ["FunASR", "Paraformer"]
