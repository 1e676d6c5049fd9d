"""The reader of torch's zip format. Oracle: torch.load, bit for bit, over real checkpoints and made-up ones."""

import shutil
import struct
import zipfile
import zlib
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.checkpoint import open_checkpoint
from convert.torch_file import OddTensor, StoredTensor, read_torch_zip
from convert.torch_pickle import Plain
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


# ------------------------------------------------------------------------------------------------ values


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


def test_a_file_system_that_cannot_map_is_read(tmp_path, monkeypatch):
    path = save(tmp_path, {"w": torch.arange(6.0), "t": torch.arange(6.0).reshape(2, 3).T})
    monkeypatch.setattr("convert.torch_zip._map", lambda stream: None)
    found = open_checkpoint(path)
    assert found.read("w").tolist() == [0, 1, 2, 3, 4, 5]
    assert found.read("t").tolist() == [[0, 3], [1, 4], [2, 5]]
    found.release("w")


# ------------------------------------------------------------------------------------------------ damage


def read_all(path: Path) -> dict[str, bytes]:
    found = open_checkpoint(path)
    return {name: found.read(name).tobytes() for name in found.infos}


def outcome(path: Path) -> tuple[dict[str, bytes] | None, str]:
    """Return what the file holds, or None and the message that refuses it."""
    try:
        return read_all(path), ""
    except CheckpointError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sound")
    path = save(folder, {"state_dict": {"a.weight": torch.randn(40, 5), "b": torch.arange(7), "t": torch.ones(2, 9).T}})
    return path, read_all(path)


def test_no_damaged_byte_gives_other_values_or_a_traceback(sound, tmp_path):
    path, expected = sound
    raw = path.read_bytes()
    damaged = tmp_path / "damaged.pt"
    refused = 0
    for position in range(len(raw)):
        flipped = bytearray(raw)
        flipped[position] ^= 0xFF if position % 2 else 1 << position % 8
        damaged.write_bytes(flipped)
        found, message = outcome(damaged)
        assert found in (expected, None)
        refused += found is None
        assert found is not None or (str(damaged) in message and "\n" not in message)
    assert refused > len(raw) // 4  # the rest are paddings, versions, dates: bytes that no value depends on


def test_no_truncation_gives_anything_but_one_line(sound, tmp_path):
    raw = sound[0].read_bytes()
    cut = tmp_path / "cut.pt"
    for length in [*range(0, len(raw), 37), len(raw) - 1]:
        cut.write_bytes(raw[:length])
        with pytest.raises(CheckpointError) as caught:
            read_all(cut)
        assert "\n" not in str(caught.value)


def test_the_damaged_record_is_named(sound, tmp_path):
    path, _ = sound
    with zipfile.ZipFile(path) as archive:
        entry = next(item for item in archive.infolist() if item.filename.endswith("/data/0"))
    raw = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<HH", raw, entry.header_offset + 26)
    raw[entry.header_offset + 30 + name + extra + 11] ^= 0x10
    (tmp_path / "x.pt").write_bytes(raw)
    found = open_checkpoint(tmp_path / "x.pt")
    assert found.read("b").tolist() == list(range(7))
    with pytest.raises(CheckpointError, match=r"record 'data/0' has the checksum [0-9a-f]{8}, the archive says"):
        found.read("a.weight")
    with pytest.raises(CheckpointError, match="'data/0'"):
        found.check()


def test_a_large_record_is_summed_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("convert.torch_zip.CHUNK", 100_000)
    value = {"w": torch.arange(100_003, dtype=torch.int32)}
    assert_same(open_checkpoint(save(tmp_path, value)).read("w"), value["w"].numpy())


def test_a_file_saved_without_checksums_is_read_and_says_so(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path, {"w": torch.arange(3.0)})
    finally:
        torch.serialization.set_crc32_options(True)
    found = open_checkpoint(path)
    assert found.read("w").tolist() == [0, 1, 2]
    assert found.notes == [
        "model.pt was saved without checksums (torch.serialization.set_crc32_options): a damaged byte in it would not "
        "be noticed"
    ]


# ------------------------------------------------------------------------------------------------ archives


def rewrite(path: Path, made: Path, change) -> Path:
    """Write the archive again with Python's zipfile; `change` gets the list of (name, bytes) and returns another."""
    with zipfile.ZipFile(path) as archive:
        records = [(item.filename, archive.read(item)) for item in archive.infolist()]
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in change(records):
            archive.writestr(name, data)
    return made


def test_an_archive_that_another_tool_wrote_is_read(sound, tmp_path):
    """No padding to 64 bytes, no data descriptors, records in another order; also under another folder's name."""
    path, expected = sound
    assert read_all(rewrite(path, tmp_path / "again.pt", lambda records: records[::-1])) == expected
    renamed = rewrite(path, tmp_path / "x.bin", lambda found: [(f"x/{n.partition('/')[2]}", d) for n, d in found])
    assert read_all(renamed) == expected


def test_what_torch_before_2_1_left_out_is_not_asked_for(sound, tmp_path):
    """No byteorder, no .format_version, no .storage_alignment, no serialization_id."""
    path, expected = sound
    old = rewrite(path, tmp_path / "old.pt", lambda found: [r for r in found if r[0].endswith((".pkl", "version"))
                                                            or "/data/" in r[0]])  # fmt: skip
    assert read_all(old) == expected


def test_a_zip64_archive_is_read(sound, tmp_path):
    path, expected = sound
    made = tmp_path / "zip64.pt"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(made, "w") as copy:
        for item in archive.infolist():
            with copy.open(zipfile.ZipInfo(item.filename), "w", force_zip64=True) as stream:
                stream.write(archive.read(item))
    assert read_all(made) == expected


def drop(name: str):
    return lambda records: [(n, d) for n, d in records if not n.endswith(name)]


def replace(name: str, data: bytes):
    return lambda records: [(n, data if n.endswith(name) else d) for n, d in records]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop("/data/0"), "the record data/0 is not in the archive"),
        (replace("/data/0", b"12"), "record 'data/0' has 2 bytes, its type needs 800"),
        (replace("/byteorder", b"big"), "big-endian"),
        (replace("/byteorder", b"middle"), "byte order b'middle'"),
        (lambda records: [*records, records[0]], "twice"),
        (drop("/data.pkl"), "zip archive of something else"),
    ],
)
def test_archives_that_contradict_themselves_are_refused(sound, tmp_path, change, reason):
    with pytest.raises(CheckpointError, match=reason):
        read_all(rewrite(sound[0], tmp_path / "bad.pt", change))


def test_a_compressed_archive_is_refused(sound, tmp_path):
    with zipfile.ZipFile(sound[0]) as archive, zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as copy:
        for item in archive.infolist():
            copy.writestr(item.filename, archive.read(item))
    with pytest.raises(CheckpointError, match=r"record '.*' is compressed"):
        open_checkpoint(tmp_path / "c.pt")


def edited_directory(path: Path, made: Path, name: str, offset: int, value: int) -> Path:
    """Overwrite four bytes of a record's entry in the archive's directory."""
    raw = bytearray(path.read_bytes())
    position = raw.index(b"PK\x01\x02")
    while True:
        length = struct.unpack_from("<H", raw, position + 28)[0]
        if raw[position + 46 : position + 46 + length].decode().endswith(name):
            break
        position = raw.index(b"PK\x01\x02", position + 4)
    struct.pack_into("<I", raw, position + offset, value)
    made.write_bytes(raw)
    return made


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (42, 0, "overlaps another"),  # where its header lies: on the first record
        (42, 0x7FFFFFFF, "does not lie where|overlaps|cannot be read"),
        (42, 20, "does not lie where|overlaps"),
        (20, 0x7FFFFFFF, "reaches beyond"),  # compressed size
        (24, 0x7FFFFFFF, "sizes contradict"),  # size
        (16, 1, "has the checksum"),
    ],
)
def test_directories_that_lie_are_refused(sound, tmp_path, offset, value, reason):
    with pytest.raises(CheckpointError, match=reason):
        read_all(edited_directory(sound[0], tmp_path / "bad.pt", "/data/1", offset, value))


def test_a_record_laid_over_another_is_refused_even_with_its_checksum(tmp_path):
    """A header inside another record's bytes: the classic way to make two readers see two files."""
    inner = b"\x01" * 40
    header = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 0, zlib.crc32(inner), 40, 40, 8, 0) + b"a/data/1"
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", header + inner)
        archive.writestr("a/data/1", inner)
    raw = path.read_bytes()
    made = edited_directory(path, tmp_path / "b.pt", "a/data/1", 42, raw.index(header))
    with pytest.raises(CheckpointError, match="overlaps"):
        open_checkpoint(made)


def test_something_before_the_archive_is_refused(sound, tmp_path):
    with zipfile.ZipFile(tmp_path / "front.pt", "w") as archive:
        archive.writestr("decoy/data.pkl", b"\x80\x02}.")
    raw = (tmp_path / "front.pt").read_bytes()
    (tmp_path / "front.pt").write_bytes(raw + sound[0].read_bytes())
    with pytest.raises(CheckpointError, match="does not begin where the archive does"):
        open_checkpoint(tmp_path / "front.pt")


def test_a_checkpoint_under_any_name_is_read(sound, tmp_path):
    shutil.copy(sound[0], tmp_path / "weights.safetensors")
    assert read_all(tmp_path / "weights.safetensors") == sound[1]
