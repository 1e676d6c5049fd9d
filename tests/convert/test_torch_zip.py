"""The archive around a torch file: damage, truncation, lies. Oracles: torch.save, zipfile, the archive's own CRC-32."""

import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from convert.checkpoint import open_checkpoint
from mlx_model.errors import CheckpointError

torch = pytest.importorskip("torch")


def save(tmp_path: Path, value, name: str = "model.pt") -> Path:
    torch.save(value, tmp_path / name)
    return tmp_path / name


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
    assert open_checkpoint(save(tmp_path, value)).read("w").tobytes() == value["w"].numpy().tobytes()


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
