"""FunASR's short names. Oracle: the maps of the installed FunASR, read from its file without importing the package."""

import importlib.util
from pathlib import Path

import pytest

from convert.names import HUGGING_FACE, MODELSCOPE


@pytest.mark.reference
def test_they_are_those_of_the_installed_funasr():
    package = importlib.util.find_spec("funasr")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "download" / "name_maps_from_hub.py"
    spec = importlib.util.spec_from_file_location("name_maps_from_hub", path)
    assert spec is not None
    assert spec.loader is not None
    maps = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maps)
    assert maps.name_maps_ms == MODELSCOPE
    assert maps.name_maps_hf == HUGGING_FACE
