"""What a wheel carries of compiled code. Oracles: the files themselves, PEP 600's names."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import pytest

from mlx_model.machine import prebuilt
from mlx_model.machine.bodies import BODIES, PACKAGE, PLAIN, builds
from mlx_model.machine.compiler import COMPILERS, compiler

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no C compiler here")
SOURCE = "int engine_width(void) { return 16; }\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two C files: one for every body, one that is only passed on."""
    monkeypatch.delenv(prebuilt.PURE, raising=False)
    monkeypatch.delenv("CC", raising=False)
    for name in ("engines/cpu_engine.c", "machine/blas_names.c"):
        path = tmp_path / "mlx_model" / name
        path.parent.mkdir(parents=True)
        path.write_text(SOURCE)
    return tmp_path / "mlx_model"


@pytest.mark.parametrize(
    ("machine", "names"), [("x86_64", ["avx512", "avx2"]), ("aarch64", ["neon"]), ("arm64", ["neon"])]
)
def test_every_c_file_has_every_body_of_the_machine(machine: str, names: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    found = list(builds())
    assert {source for source, _ in found} == set(PACKAGE.rglob("*.c"))  # new ones are taken along by themselves
    assert [body for source, body in found if source.name == "cpu_engine.c"] == [BODIES[name] for name in names]
    assert [body for source, body in found if source.name == "blas_names.c"] == [PLAIN]


def test_other_machines_get_what_needs_no_body(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert list(builds()) == []


@needs_compiler
def test_what_can_be_compiled_is_and_what_cannot_is_said(package: Path, tmp_path: Path):
    (package / "engines/broken.c").write_text("no C at all\n")
    said: list[str] = []
    made = prebuilt.build(tmp_path, said.append, package)
    here = [body for body in BODIES.values() if body.automatic and body.is_for_this_machine]
    assert len(made) == len(here) + 1
    assert {Path(name).parent.as_posix() for name in made} == {"mlx_model/engines/built", "mlx_model/machine/built"}
    assert all(path.is_file() and path.name == Path(name).name for name, path in made.items())
    assert sum("broken.c" in line and "left out" in line for line in said) == len(here)


def test_without_a_compiler_the_wheel_is_pure(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CC", "/nonexistent")
    said: list[str] = []
    assert prebuilt.build(tmp_path, said.append, package) == {}
    assert len(said) == 1
    assert "no C compiler here" in said[0]


def test_a_pure_wheel_can_be_asked_for(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(prebuilt.PURE, "1")
    said: list[str] = []
    assert prebuilt.build(tmp_path, said.append, package) == {}
    assert "a pure wheel" in said[0]


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="tags of glibc's systems")
def test_the_platform_is_the_newest_version_that_a_library_asks_for(tmp_path: Path):
    older, newer = tmp_path / "a.so", tmp_path / "b.so"
    older.write_bytes(b"\0GLIBC_2.2.5\0GLIBC_2.9\0")
    newer.write_bytes(b"\0GLIBC_2.17\0GLIBC_2.34\0")
    assert prebuilt.platform_tag([older]) == f"manylinux_2_9_{platform.machine()}"
    assert prebuilt.platform_tag([older, newer]) == f"manylinux_2_34_{platform.machine()}"


def test_macos_is_named_by_its_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("14.5", ("", "", ""), "arm64"))
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert prebuilt.platform_tag([]) == "macosx_14_0_arm64"


@needs_compiler
def test_a_library_here_needs_no_newer_glibc_than_this_one(package: Path, tmp_path: Path):
    assert compiler() is not None
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        pytest.skip("glibc's versions")
    major, minor = map(int, prebuilt.platform_tag(prebuilt.build(tmp_path, print, package).values()).split("_")[1:3])
    assert (major, minor) <= tuple(map(int, platform.libc_ver()[1].split(".")))
