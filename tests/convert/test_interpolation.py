"""OmegaConf's interpolations and numbers. Oracle: OmegaConf itself, where it is installed, else values by hand."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.interpolation import resolve
from convert.yaml_file import load_yaml
from mlx_model.errors import ConfigError

omegaconf = pytest.mark.skipif(importlib.util.find_spec("omegaconf") is None, reason="omegaconf is not installed")

TEXTS = [
    "${b.c}", "${.y}", "${..b.c}", "x${b.c}y", "${b}", "${l[1]}", "${l.0}", "${b[c]}", "${b.${name}}", "\\${b.c}",
    "a\\${b}", "\\\\${b.c}", "$${b.c}", "${ b.c }", "${b.c}${b.d}", "${chain}", "${b.none}", "x${b.none}", "x${b.flag}",
    "${oc.select:b.c}", "${oc.select:b.z}", "${oc.select:b.z,7}", "${oc.select:b.z, 1e-3}", "${oc.select:b.z,'q'}",
    "${oc.select:b.z,[1,2,{a: 3}]}", "${oc.select:b.none,5}", "${oc.select:b.z,true}", "${oc.select:b.z,-.inf}",
    "${oc.select:b.z,a b}", "${oc.select:b.z,}", "${oc.select:.y}", "${oc.select:b.z,${b.c}}",
    "${oc.select:b.z,x${b.c}}", "${oc.select:b.z,${b.c}${b.c}}", "${oc.select:b.z,${b.c} 1}",
    "${oc.select:b.z,1${b.c} }",
    "${oc.select:b.z,1_000}", "${oc.select:b.z,010}", '${oc.select:b.z, "a,b"}', "${oc.select:b.z,{}}",
    "${oc.select:b.z,[]}", "${oc.select:b.z,NULL}", "${oc.select:b.z,inf}", "${oc.select:b.z,1.}",
    "${oc.decode:'1e-3'}", '${oc.decode:"[1,2]"}', "${oc.decode:null}", "${oc.decode:${b.d}}", "${oc.decode:'${b.c}'}",
    "${oc.create:{a: 1}}", "${oc.dict.keys:b}", "${oc.dict.values:b}", "${oc.dict.values:e}", "${oc.deprecated:b.c}",
]  # fmt: skip
PIECES = [
    "${b.c}", "${b.d}", "\\", "x", " ", ".", "${", "}", "$", "[0]", "'", "oc.select:b.z,", "1", ":", "#", "(", "1e3",
    "-", "oc.decode:", ",",
]  # fmt: skip
REFUSED = [
    "${nope}", "${b.nope}", "${foo:1}", "${", "${}", "${b.c", "${b..c}", "${b.c.d}", "${l[9]}", "${l.-1}", "${...x}",
    "${..}",
]  # fmt: skip


def document(text: Any) -> dict[str, Any]:
    return {
        "a": {"x": text, "y": 3}, "b": {"c": 5, "d": "6", "none": None, "flag": True}, "l": [1, "two"], "name": "c",
        "chain": "${b.c}", "e": {"k": "${b.c}"},
    }  # fmt: skip


def theirs(found: dict[str, Any]) -> Any:
    from omegaconf import OmegaConf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ${oc.deprecated:...} says
        return OmegaConf.to_container(OmegaConf.create(found), resolve=True)


@omegaconf
@pytest.mark.parametrize("text", TEXTS)
def test_values_are_omegaconfs(text: str):
    assert repr(resolve(document(text), {}, "config.yaml")) == repr(theirs(document(text)))


@omegaconf
@pytest.mark.parametrize("text", REFUSED)
def test_what_omegaconf_refuses_is_refused_in_one_line(text: str):
    with pytest.raises(Exception):  # noqa: B017, PT011  # of several kinds, all OmegaConf's
        theirs(document(text))
    with pytest.raises(ConfigError, match=r"^config\.yaml: a\.x: ") as caught:
        resolve(document(text), {}, "config.yaml")
    assert "\n" not in str(caught.value)


@omegaconf
@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PIECES)))
def test_made_up_texts_are_never_something_else_than_omegaconfs(parts: list[str]):
    text = "".join(parts)
    try:
        ours = resolve(document(text), {}, "config.yaml")
    except ConfigError:
        return  # refusing more is allowed; guessing is not
    assert repr(ours) == repr(theirs(document(text)))


def test_values_by_hand():
    found = resolve({"a": {"x": "${..b.c}", "y": "n${b.c}"}, "b": {"c": 5}}, {}, "config.yaml")
    assert found["a"] == {"x": 5, "y": "n5"}
    assert resolve({"a": "${model_path}/m"}, {"model_path": "/d"}, "config.yaml") == {"a": "/d/m"}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"a": "${b}", "b": "${a}"}, "refers to itself"),
        ({"a": "${oc.env:HOME}"}, "reads an environment variable"),
        ({"a": "${oc.env:HOME,x}"}, "reads an environment variable"),
        ({f"k{i}": f"${{k{i + 1}}}" for i in range(40)} | {"k40": 1}, "interpolations within each other"),
        ({"a": {"x": "${a}"}}, "refers to itself"),
        ({f"k{i}": [f"${{k{i + 1}}}"] * 20 for i in range(8)} | {"k8": 1}, "values of this file"),
    ],
)
def test_cycles_depth_and_size_are_bounded(found: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        resolve(found, {}, "config.yaml")


NUMBERS = [
    "1e-3", "1E5", "2.5E+4", ".5", ".5e-3", "1.", "1.e3", "10", "0x1f", "0o17", "017", "1_000", "1_000.5", "+3", "-4",
    ".inf", "-.Inf", ".nan", "1:30", "yes", "off", "~", "null", "2024-01-01", "1e3x", "'1e-3'", "1.0e+3", "e5", "1e",
    "0b11", "12e03", "2024-01-01T00:00:00",
]  # fmt: skip


@omegaconf
@pytest.mark.parametrize("text", NUMBERS)
def test_yaml_scalars_are_those_of_omegaconf(tmp_path: Path, text: str):
    from omegaconf import OmegaConf

    (tmp_path / "config.yaml").write_text(f"a: {text}\n", "utf-8")
    assert repr(load_yaml(tmp_path / "config.yaml")["a"]) == repr(OmegaConf.load(tmp_path / "config.yaml")["a"])
