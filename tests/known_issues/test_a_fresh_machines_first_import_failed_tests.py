"""On a fresh machine every test of `whisper-en` failed: its library's source has a `\\X` that Python warns of.

Python says so once, when it compiles the file; whoever developed had it compiled already, and `make test` installs
without compiling. The kind: a warning about how others' source is written, turned into an error of our tests.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["whisper_normalizer", "sklearn", "sentencepiece", "huggingface_hub"])
def test_libraries_compile_under_the_filters_of_our_tests(package: str):
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed: make test installs it")
    sources = [path for path in Path(found.origin).parent.rglob("*.py") if "tests" not in path.parts]
    assert sources
    for path in sources:
        compile(path.read_bytes(), path, "exec")


def test_other_warnings_are_errors_still():
    with pytest.raises(SyntaxError, match="assertion is always true"):
        compile("assert (1, 'said')", "a.py", "exec")
