"""The reader of torch's zip format. Oracle: torch.load, bit for bit, over real checkpoints and made-up ones."""

from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.checkpoint import open_checkpoint
from convert.torch_file import read_torch_zip
from convert.torch_pickle import Plain
from convert.torch_tensors import OddTensor, StoredTensor
from mlx_model.errors import CheckpointError
from tests.conftest import ROOT

torch = pytest.importorskip("torch")

# Every type that the zip format stores plainly and convert.dtypes knows, with torch's view of the same bits in numpy.
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.uint32,
]  # fmt: skip
REFUSED = [
    torch.complex64, torch.complex128, torch.uint16, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


def bits(tensor) -> np.ndarray:
    """Return torch's own values as this reader gives them: bfloat16 as its uint16 bits."""
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()


def assert_same_tree(found, expected) -> None:
    """Compare what this reader found with what torch.load gave, containers and values."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, StoredTensor)
        assert_same(found.read(), bits(expected))
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same_tree(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert (type(found), len(found)) == (tuple if isinstance(expected, tuple) else list, len(expected))
        for pair in zip(found, expected, strict=True):
            assert_same_tree(*pair)
    elif isinstance(expected, (torch.dtype, torch.device, np.generic)):
        assert isinstance(found, Plain)
    else:
        assert (type(found), repr(found)) == (type(expected), repr(expected))  # repr: NaN equals NaN, 0.0 is not -0.0


def save(tmp_path: Path, value, name: str = "model.pt") -> Path:
    torch.save(value, tmp_path / name)
    return tmp_path / name


def checkpoints() -> list[Path]:
    """Every checkpoint at hand: the bundled one, and those of ../shared."""
    shared = sorted((ROOT.parent / "shared" / "checkpoints").glob("*/*.pt"))
    return [ROOT / "parity/demo/model/model.pt", *shared]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.shared] * ("shared" in path.parts)) for path in checkpoints()],
    ids=[path.parent.name for path in checkpoints()],
)  # fmt: skip
def test_every_checkpoint_at_hand_is_read_as_torch_reads_it(path: Path):
    assert_same_tree(read_torch_zip(path).content, torch.load(path, map_location="cpu", weights_only=True))


@st.composite
def tensors(draw):
    """Draw a tensor of any type, and of any look: a view with strides and an offset, expanded, empty, scalar."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (int(np.prod([*shape, 1])) * 16 + 16,), generator=generator, dtype=torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    base = raw.view(dtype)
    look = draw(st.sampled_from(["plain", "strided", "transposed", "expanded", "parameter"]))
    count = int(np.prod(shape)) if shape else 1
    if look == "plain" or not shape:
        return base[:count].reshape(shape).clone()
    if look == "expanded":
        return base[:1].reshape([1] * len(shape)).expand(shape)
    offset = draw(st.integers(0, 2))
    if look == "strided":
        return base[offset : offset + 2 * count : 2].reshape(shape) if count else base[offset:offset].reshape(shape)
    view = base[offset : offset + count].reshape(shape)
    if look == "parameter" and dtype.is_floating_point:
        return torch.nn.Parameter(view)
    return view.permute(*reversed(range(len(shape))))


plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from([torch.float32, torch.device("cpu"), np.float64(0.5), np.int64(3), torch.Size([2, 3])]),
)  # fmt: skip
trees = st.recursive(
    st.one_of(plain, tensors()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=6), st.integers(0, 99)), inner, max_size=4),
        st.dictionaries(st.text(max_size=6), inner, max_size=4).map(OrderedDict),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees)
def test_whatever_torch_saves_is_read_as_torch_reads_it(tree, tmp_path_factory):
    path = save(tmp_path_factory.getbasetemp(), tree, "tree.pt")
    assert_same_tree(read_torch_zip(path).content, torch.load(path, weights_only=False))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_that_torch_writes_is_read(tmp_path, protocol):
    value = {"w": torch.arange(5.0), "n": [1, 70000, -3, 2**40], "t": (1, 2, 3, "四"), "b": torch.ones(2, 2).T}
    torch.save(value, tmp_path / "p.pt", pickle_protocol=protocol)
    assert_same_tree(read_torch_zip(tmp_path / "p.pt").content, value)


def test_views_of_one_storage_of_two_types_and_offsets(tmp_path):
    raw = torch.arange(64, dtype=torch.uint8)
    value = {"row": raw.reshape(8, 8)[3], "column": raw.reshape(8, 8)[:, 5], "whole": raw, "tail": raw[60:]}
    found = read_torch_zip(save(tmp_path, value)).content
    assert_same_tree(found, value)
    assert len({id(tensor.storage.record) for tensor in found.values()}) == 1


def test_what_a_module_leaves_is_read(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    value = {
        "state_dict": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "saved": Counter(a=3),
        "score": np.float32(0.25),
        "names": {"x", "y"},
    }
    path = save(tmp_path, value)
    found = read_torch_zip(path).content
    assert_same_tree(found["state_dict"], value["state_dict"])
    assert_same_tree(found["optimizer"], value["optimizer"])
    assert found["saved"] == {"a": 3}
    assert sorted(found["names"]) == ["x", "y"]


def test_a_tensor_with_attributes_is_a_tensor(tmp_path):
    tensor = torch.arange(3.0)
    tensor.note = "beside"
    assert_same_tree(read_torch_zip(save(tmp_path, {"w": tensor})).content, {"w": torch.arange(3.0)})


@pytest.mark.parametrize("dtype", REFUSED, ids=str)
def test_types_that_no_model_has_are_refused_by_name(tmp_path, dtype):
    path = save(tmp_path, {"odd.weight": torch.zeros(3, dtype=torch.float32).to(dtype)})
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=rf"tensor 'odd\.weight' is a {name} tensor; expected plain"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantised"),
        (lambda: torch.quantize_per_channel(torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, torch.quint8),
         "quantised"),
        (lambda: torch.eye(3).to_sparse(), "sparse"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse"),
        (lambda: torch.ones(3, device="meta"), "meta"),
        (lambda: torch.ones(1).expand(10_000, 10_000), "expanded"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_plain_numbers_are_refused_as_weights_only(tmp_path, make, kind):
    with pytest.raises(CheckpointError, match=rf"tensor 'odd' is a {kind}.* tensor"):
        open_checkpoint(save(tmp_path, {"odd": make()}))
    found = open_checkpoint(save(tmp_path, {"state_dict": {"w": torch.ones(2)}, "beside": make()}))
    assert list(found.infos) == ["w"]
    content = read_torch_zip(save(tmp_path, [make()])).content
    assert isinstance(content[0], OddTensor)


def test_a_negated_view_is_not_read_as_its_opposite(tmp_path):
    odd = torch._neg_view(torch.ones(3))
    assert torch.load(save(tmp_path, odd)).tolist() == [-1, -1, -1]
    with pytest.raises(CheckpointError, match="negated"):
        open_checkpoint(save(tmp_path, {"w": odd}))
