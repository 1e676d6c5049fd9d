"""The README is executed: every `$ mlx-funasr` command in it, in order, and the output it quotes must be there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def commands() -> list[tuple[str, list[str]]]:
    """Return (command, quoted output lines) of all console blocks."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif found and line.strip():
                found[-1][1].append(line)
    return found


@pytest.mark.reference
@pytest.mark.slow
def test_every_command_does_what_it_says(tmp_path: Path):
    (tmp_path / "parity").symlink_to(ROOT / "parity")
    ran = 0
    for command, quoted in commands():
        words = shlex.split(command)
        if words[0] != "mlx-funasr":
            assert words[0] in ("make", "pip"), command
            continue
        script = [forked.python("command"), str(ROOT / "mlx_funasr.py"), *words[1:]]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        for line in quoted:
            assert line in done.stdout, f"{command} does not print {line!r}"
        ran += 1
    assert ran >= 8
    assert (tmp_path / "demo-run/index.html").is_file()


@pytest.mark.reference
@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path):
    import convert

    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "parity").symlink_to(ROOT / "parity")
    convert.convert(ROOT / "parity/demo/model", tmp_path / "demo-run/model")
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "号码是九零四二七零八八"


def test_the_files_it_names_exist_and_links_work_on_pypi_too():
    """PyPI shows this README without the files beside it: every link names its place in the repository in full."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    home = f"{project['urls']['Source']}/blob/main/"
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert len([target for target in targets if target.startswith(home)]) >= 10
    for target in targets:
        assert target.startswith(("https://", "#")), target
        if target.startswith(home):
            assert (ROOT / target.removeprefix(home).partition("#")[0]).exists(), target


def test_the_numbers_of_the_demo_are_those_of_its_card():
    """The tour quotes the demo's CER; the card states how it was measured."""
    (quoted,) = set(re.findall(r"CER (\d+\.\d+)%", README))
    assert quoted in (ROOT / "parity/demo/README.md").read_text("utf-8")
