"""Names that training tools write. Oracles: torch's own wrappers, and names written by hand."""

from pathlib import Path

import pytest

from convert.tensor_names import plain_names
from mlx_model.errors import CheckpointError

NAMES = ["encoder.encoders.0.norm1.weight", "encoder.after_norm.bias", "decoder.output_layer.weight"]
EVIDENCE = ("encoder.encoders.*.norm1.weight", "decoder.output_layer.weight")


def renamed(names, evidence=EVIDENCE) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    return list(plain_names(Path("model.pt"), names, evidence, notes).values()), notes


def test_funasrs_own_names_stay():
    assert renamed(NAMES) == (NAMES, [])


@pytest.mark.parametrize(
    "front",
    [
        "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "_orig_mod.module.module.",
        "_fsdp_wrapped_module.", "module._fsdp_wrapped_module._orig_mod.",
    ],
)  # fmt: skip
def test_wrappers_in_front_are_taken_off_in_any_order_and_number(front):
    found, notes = renamed([front + name for name in NAMES])
    assert found == NAMES
    assert len(notes) == 1
    assert ("FunASR 1.4.16 knows" in notes[0]) == (front != "module.")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("encoder._orig_mod.after_norm.bias", "encoder.after_norm.bias"),
        ("encoder.encoders.0._checkpoint_wrapped_module.norm1.weight", "encoder.encoders.0.norm1.weight"),
        ("module.encoder._orig_mod.module.after_norm.bias", "encoder.after_norm.bias"),
        ("encoder.module._orig_mod.after_norm.bias", "encoder.after_norm.bias"),
        ("a.module.b", "a.b"),  # DDP around the part `a`: everything in it has it
    ],
)
def test_wrappers_around_a_part_are_taken_off(before, after):
    assert renamed([before], ())[0] == [after]


def test_a_part_that_is_called_module_beside_others_stays():
    names = ["a.module.weight", "a.norm.weight", "a.module"]
    assert renamed(names, ())[0] == names


def test_torchs_own_wrappers_are_taken_off():
    torch = pytest.importorskip("torch")
    plain = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2), "decoder": torch.nn.Linear(2, 2)})
    expected = list(plain.state_dict())
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(plain))
    found, notes = renamed(averaged.state_dict(), ())
    assert found == expected
    assert (
        notes[0]
        == "'n_averaged' is the counter of torch's AveragedModel, no weight: the tensors are averages of weights"
    )


@pytest.mark.parametrize("front", ["model.", "net.", "asr_model.", "lit.model.", "base_model.model."])
def test_the_attribute_that_held_the_model_is_taken_off(front):
    found, notes = renamed([front + name for name in NAMES])
    assert found == NAMES
    assert notes[0].startswith(f"taken off the tensors' names: '{front}', the attribute that held the model")
    assert notes[0].endswith("would leave every weight random")


@pytest.mark.parametrize("average", ["ema.", "ema_model.module.", "model_ema."])
@pytest.mark.parametrize("front", ["", "model."])
def test_an_average_in_the_same_state_dict_is_left(front, average):
    found, notes = renamed([*(front + name for name in NAMES), *(average + name for name in NAMES)])
    assert found == NAMES
    assert any(note.endswith("is an average of the weights (EMA), kept beside them: not read") for note in notes)


def test_two_models_in_one_state_dict_are_refused_and_named():
    with pytest.raises(CheckpointError, match="several models, under 'teacher_net' and 'student'"):
        renamed([*(f"teacher_net.{name}" for name in NAMES), *(f"student.{name}" for name in NAMES)])


def test_an_attribute_is_taken_off_only_where_the_models_names_stand_under_it():
    names = ["model.encoder.weight", "model.decoder.weight"]
    assert renamed(names) == (names, [])
    beside = [*(f"model.{name}" for name in NAMES), "criterion.weight"]
    assert renamed(beside) == (beside, [])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a.b", "module.a.b"], "'a.b' twice"),
        (["_orig_mod.a.b", "module.a.b"], "'a.b' twice"),
        ([3], "name is 3, expected text"),
        (["a\nb"], r"name is 'a\\nb'"),
        (["a\udc80"], "which is none that a model has"),
        (["x" * 501], "which is none that a model has"),
    ],
)
def test_names_that_cannot_be_are_refused(names, reason):
    with pytest.raises(CheckpointError, match=reason):
        renamed(names, ())
