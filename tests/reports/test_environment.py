"""What environment.py says, against the interpreter's own metadata, hashlib's answer and a real git checkout."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from reports import environment


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-4
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert environment.file_sha256(tmp_path / "abc") == expected


def test_a_directory_is_known_by_what_results_depend_on(tmp_path: Path) -> None:
    """Oracle: the two lines of `sha256sum` written by hand, and what changes them."""
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "lang").mkdir()
    (tmp_path / "lang" / "b").write_bytes(b"abc")
    abc = environment.file_sha256(tmp_path / "a.bin")
    digest = hashlib.sha256(f"a.bin {abc}\nlang/b {abc}\n".encode()).hexdigest()
    for name in ("README.md", "parity.html", ".gitattributes", ".cache/x", "proof/parity.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert environment.directory_sha256(tmp_path) == digest
    (tmp_path / "a.bin").rename(tmp_path / "c.bin")
    assert environment.directory_sha256(tmp_path) != digest


def test_description_is_json_and_takes_extras() -> None:
    described = environment.describe(blas="Accelerate", python="overridden")
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described["blas"] == "Accelerate"
    assert described["python"] == "overridden"
    assert described["versions"]["numpy"] == metadata.version("numpy")
    assert described["project_version"] == "0.1.0"
    assert described["processor"]


def test_describing_loads_neither_mlx_nor_torch() -> None:
    code = (
        "import sys; from reports.environment import describe; found = describe();"
        "assert found['mlx_device'] is None; print(sorted({'mlx', 'torch', 'funasr', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=environment.ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_commit_of_a_checkout_and_of_none(tmp_path: Path) -> None:
    assert environment.git_commit(tmp_path) is None
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "a"], [*identity, "commit", "-q", "-m", "a"]):
        (tmp_path / "a").write_text("1")
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = environment.git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "a").write_text("2")
    assert environment.git_commit(tmp_path) == f"{commit}+changes"
    (tmp_path / "inside").mkdir()
    assert environment.git_commit(tmp_path / "inside") is None
