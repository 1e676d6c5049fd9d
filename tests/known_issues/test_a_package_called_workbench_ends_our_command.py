"""`mlx-funasr` ended in an ImportError where PyPI's package `workbench` was installed: our module had the same name."""

from __future__ import annotations

import tomllib

from tests.conftest import ROOT


def test_the_entry_point_has_the_distributions_own_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"] == {"mlx-funasr": "mlx_funasr:main"}
    assert not (ROOT / "workbench.py").exists()


def test_the_public_names_are_there_and_others_are_named():
    import mlx_funasr

    assert {name: callable(getattr(mlx_funasr, name)) for name in ("load", "convert", "inspect")} == dict.fromkeys(
        ("load", "convert", "inspect"), True
    )
    assert callable(mlx_funasr.parity.run)
    assert callable(mlx_funasr.cer.evaluate)
