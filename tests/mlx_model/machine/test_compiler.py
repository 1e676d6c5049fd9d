"""C files are compiled once, kept where only their user can write, and never half-written."""

import ctypes
import shutil
import sys
from pathlib import Path

import pytest

from mlx_model.engines import cpu_engine
from mlx_model.machine import openblas
from mlx_model.machine.bodies import BODIES
from mlx_model.machine.compiler import COMPILERS, compiled, compiler, shipped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="used on Linux only")
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no C compiler here")
MODULE = Path(openblas.__file__)
OPENBLAS, ENGINE = MODULE.with_name("blas_names.c"), Path(cpu_engine.__file__).with_name("cpu_engine.c")
NAME = (OPENBLAS, "-O1")


@pytest.fixture(autouse=True)
def no_compiler_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CC", raising=False)


def test_without_a_compiler_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="needs a C compiler once"):
        compiled(*NAME)


@needs_compiler
def test_cc_names_the_compiler_and_its_options(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "/nonexistent")
    assert compiler() is None
    with pytest.raises(OSError, match="CC=/nonexistent is none"):
        compiled(*NAME)
    any_of_them = next(found for found in map(shutil.which, COMPILERS) if found)
    monkeypatch.setenv("CC", f"{any_of_them} -pipe")
    assert compiler() == [any_of_them, "-pipe"]
    assert compiled(*NAME).is_file()


@needs_compiler
def test_what_the_wheel_brought_is_taken_and_only_for_its_own_source(tmp_path, monkeypatch):
    """Oracle: the paths, and that a comment in the source is enough to make it another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "blas_names.c"
    shutil.copy(OPENBLAS, source)
    brought = shipped(source, "-O1")
    brought.parent.mkdir()
    shutil.copy(compiled(*NAME), brought)
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler any more
    assert compiled(source, "-O1") == brought
    source.write_text(source.read_text() + "/* later */\n")
    with pytest.raises(OSError, match="needs a C compiler once"):
        compiled(source, "-O1")


@needs_compiler
def test_what_was_compiled_is_kept_and_used_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = compiled(*NAME)
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler any more
    assert compiled(*NAME) == built
    assert [item.name for item in built.parent.iterdir()] == [built.name]


@needs_compiler
def test_other_options_are_another_library(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled(OPENBLAS, "-O1") != compiled(OPENBLAS, "-O2")


@needs_compiler
def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(OSError, match="failed"):
        compiled(OPENBLAS, "-no-such-option")
    assert list((tmp_path / "mlx-funasr").iterdir()) == []


def test_a_cache_that_others_can_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "mlx-funasr").mkdir()
    (tmp_path / "mlx-funasr").chmod(0o777)
    with pytest.raises(OSError, match="written by others"):
        compiled(*NAME)


@needs_compiler
@pytest.mark.parametrize("name", [name for name in BODIES if BODIES[name].is_for_this_machine])
def test_the_library_can_be_loaded(name: str):
    """Loaded is not called: a processor may have none of its instructions."""
    assert ctypes.CDLL(str(compiled(ENGINE, *BODIES[name].options))).engine_width
