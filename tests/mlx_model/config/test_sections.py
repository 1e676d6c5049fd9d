"""Which keys a section reads, sets aside or refuses. Oracles: FunASR's signatures, the released files."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from convert.architectures import TABLES
from convert.espnet import is_espnet_style, translate
from mlx_model.config.parts import FSMNConfig, SANMEncoderConfig, VADXOptions, WavFrontendConfig
from mlx_model.config.sections import Section
from mlx_model.errors import ConfigError
from tests import forked
from tests.conftest import ROOT

# (family's part, our section, FunASR's classes of it), of all families
PARTS = [
    (f"{table.name} {key}", table.config.SECTIONS[key], tuple(classes))
    for table in TABLES for key, classes in table.components.items()
]  # fmt: skip
SECTIONS = sorted({*(section for _, section, _ in PARTS), *(table.config.ARGUMENTS for table in TABLES)},
                  key=lambda section: section.__name__)  # fmt: skip
# What FunASR gives such a class itself, not the section of config.yaml.
GIVEN = {"self", "kwargs", "input_size", "vocab_size", "encoder_output_size", "cmvn_file"}
# What we write besides: whether the weights hold CMVN.
OURS = {"cmvn"}


def required(section: type[Section]) -> dict[str, Any]:
    """Return values for the fields of a section that have no default."""
    missing = (item for item in dataclasses.fields(section) if item.default is item.default_factory)
    return {item.name: ["_", "。"] if item.type == "list[str]" else 2 for item in missing}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_key_has_one_fate(section: type[Section]):
    read = {item.name for item in dataclasses.fields(section)}
    assert not read & section.FIXED.keys()
    assert not section.known() & section.TRAINING_ONLY.keys()
    assert all(section.TRAINING_ONLY.values())


@pytest.mark.parametrize("section", SECTIONS)
def test_only_its_own_training_keys_are_set_aside(section: type[Section]):
    """What another section sets aside with its own reason may be what this one's part computes with."""
    made = section.from_dict(required(section) | dict.fromkeys(section.TRAINING_ONLY))
    assert made == section.from_dict(required(section))
    foreign = {key for other in SECTIONS for key in other.TRAINING_ONLY} - section.known() - {*section.TRAINING_ONLY}
    assert len(foreign) > 10
    for key in foreign:
        with pytest.raises(ConfigError, match=f"here: unknown key '{key}'"):
            section.from_dict(required(section) | {key: None}, "here")


@pytest.mark.parametrize(
    ("section", "key"),
    [(SANMEncoderConfig, "snr_mode"), (FSMNConfig, "dropout_rate"), (VADXOptions, "lsm_weight"),
     (WavFrontendConfig, "padding_idx")],
)  # fmt: skip
def test_keys_of_others_by_hand(section: type[Section], key: str):
    with pytest.raises(ConfigError, match=f"{section.WHERE}: unknown key {key!r}"):
        section.from_dict(required(section) | {key: 0.0})


SIGNATURES = """
import contextlib, importlib, inspect, io, json, re, sys
with contextlib.redirect_stdout(io.StringIO()):
    import funasr
    from funasr.register import tables
    from funasr.models.fsmn_vad_streaming.model import VADXOptions
names = json.loads(sys.argv[1])
kinds = [getattr(tables, name) for name in dir(tables) if name.endswith("_classes")]
found = {name: cls for kind in kinds for name, cls in kind.items()}
found["VADXOptions"] = VADXOptions
starts = {name: found[name].__init__ for name in names}
said = {name: list(inspect.signature(start).parameters) for name, start in starts.items()}
del starts["VADXOptions"]
def inits(name):  # a class hands its arguments on to those that it is made of
    own = [cls for cls in found[name].__mro__ if cls.__module__.startswith("funasr")]
    return [cls.__init__ for cls in own if "__init__" in vars(cls)]
handed = {name: [key for init in inits(name) for key in inspect.signature(init).parameters] for name in starts}
asked = {name: handed[name] + [key for init in inits(name)
         for key in re.findall(r'kwargs\\.get\\("(\\w+)"', inspect.getsource(init))] for name in starts}
print(json.dumps({"said": said, "asked": asked}))
"""


@pytest.fixture(scope="module")
def signatures() -> dict[str, dict[str, list[str]]]:
    """What the constructors of FunASR's classes take, by name or of their **kwargs; asked in a process of its own."""
    classes = {name for _, _, names in PARTS for name in names} | {table.funasr_class for table in TABLES}
    command = [forked.python("funasr"), "-c", SIGNATURES, json.dumps(sorted({*classes, "VADXOptions"}))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.reference
@pytest.mark.parametrize(("section", "classes"), [part[1:] for part in PARTS], ids=[part[0] for part in PARTS])
def test_every_argument_of_funasrs_class_has_a_fate(section, classes, signatures):
    """And nothing is read, or set aside, that FunASR's class would not take."""
    taken = {key for name in classes for key in signatures["said"][name]} - (GIVEN - section.known())
    assert taken == (section.known() | section.TRAINING_ONLY.keys()) - OURS


@pytest.mark.reference
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_models_own_training_keys_are_funasrs(table, signatures):
    said, asked, arguments = signatures["said"], signatures["asked"], table.config.ARGUMENTS
    taken = {*said[table.funasr_class], *asked[table.funasr_class], *said["VADXOptions"]}
    unread = {key for key, why in arguments.TRAINING_ONLY.items() if "never read" in why and key not in taken}
    assert not unread or "kwargs" in said[table.funasr_class]  # where they end up
    assert taken >= {*arguments.TRAINING_ONLY} - unread | arguments.known()


# Of these no released file is at hand, nor a trained one.
NOT_SHARED = {"contextual_paraformer", "monotonic_aligner", "eres2net_v2"}


def released(shared: Path) -> list[Path]:
    found = [*shared.glob("sidecars/*/config*.yaml"), *shared.glob("checkpoints/*/config.yaml")]
    assert len(found) >= 10
    return found


@pytest.mark.shared
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_released_configurations_of_the_family_are_read(shared: Path, table):
    read = 0
    for path in released(shared):
        raw = yaml.safe_load(path.read_text("utf-8"))
        raw = translate(raw, []) if is_espnet_style(raw) else raw
        if raw["model"] != table.funasr_class:
            continue
        for key in table.components:
            given = {name: value for name, value in raw[f"{key}_conf"].items() if name != "cmvn_file"}
            parsed = table.config.SECTIONS[key].from_dict(given, str(path)).to_dict()
            assert {name: parsed[name] for name in given if name in parsed} == {
                name: value for name, value in given.items() if name in parsed
            }
        table.config.ARGUMENTS.from_dict(raw.get("model_conf"), str(path))
        read += 1
    assert (read > 0) == (table.name not in NOT_SHARED), f"{read} configurations of a {table.funasr_class}"
