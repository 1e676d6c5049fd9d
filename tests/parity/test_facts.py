"""Structural facts are read off both sides under the same names. Oracle: settings written down by hand."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

from parity import facts


class Model:
    def __init__(self, **modules: Any):
        self.modules = modules
        for name, module in modules.items():
            setattr(self, name, module)

    def named_modules(self) -> list[tuple[str, Any]]:
        return list(self.modules.items())


def test_each_fact_is_read_off_the_modules_that_have_it():
    pads, block = Thing(padding=[5, 5]), Thing(left=5, right=5)
    theirs = Model(
        norm=Thing(eps=1e-5, normalized_shape=(4,)), attention=Thing(h=4, d_k=8, pad_fn=pads), loss=Thing(eps=1)
    )
    ours = Model(norm=Thing(eps=1e-5), attention=Thing(heads=4, fsmn_block=block))
    names = ("LayerNorm eps", "attention heads", "FSMN padding")
    expected = {
        "LayerNorm eps": {"norm": 1e-5},
        "attention heads": {"attention": 4},
        "FSMN padding": {"attention": [5, 5]},
    }
    assert facts.read(names, theirs, reference=True) == facts.read(names, ours, reference=False) == expected


def test_cif_settings_carry_the_threshold_that_ours_has_by_construction():
    settings = {"tail_threshold": 0.45, "smooth_factor": 1.0, "noise_threshold": 0.0}
    theirs, ours = Thing(predictor=Thing(threshold=1.0, **settings)), Thing(predictor=Thing(**settings))
    assert facts.read(["predictor"], theirs, reference=True) == facts.read(["predictor"], ours, reference=False)
    other = Thing(predictor=Thing(threshold=0.9, **settings))
    assert facts.read(["predictor"], other, reference=True) != facts.read(["predictor"], ours, reference=False)


def test_fsmn_orders_say_what_there_is_on_the_right():
    weight = Thing(shape=(1, 20))
    left = Thing(weight=weight, stride=1)
    ours = Model(memory=Thing(conv_left=left, conv_right=None))
    theirs = Model(memory=Thing(conv_left=left, lorder=20, lstride=1, rorder=0, rstride=1))
    assert facts.read(["FSMN orders"], ours, reference=False) == {"FSMN orders": {"memory": [20, 1, 0, 0]}}
    assert facts.read(["FSMN orders"], theirs, reference=True) == {"FSMN orders": {"memory": [20, 1, 0, 0]}}
