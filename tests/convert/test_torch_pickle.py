"""The pickle machine against hostile pickles, written by hand. Oracle: what torch.save may write, and a clock."""

import contextlib
import pickle
import struct
import time
import tracemalloc

import pytest

from convert import torch_pickle
from convert.torch_pickle import DamagedPickleError, Plain, RefusedPickleError

KNOWN = {"collections.OrderedDict": Plain("dict", lambda items=None: {} if items is None else items)}


def load(data: bytes):
    return torch_pickle.load(data, KNOWN, lambda identity: ("storage", identity))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, 255, 256, 65536, -1, 2**31, -(2**63), 2**80, 1.5, float("inf"), "", "文字", "x" * 300,
        [], [1], [1, 2], {}, {"a": 1}, {1: 2, 3: 4}, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [{"a": [()]}],
        {("a", 1): None}, [[1]] * 3, list(range(2000)),
    ],
)  # fmt: skip
def test_plain_values_are_read_as_pickle_reads_them(value, protocol):
    assert load(pickle.dumps(value, protocol)) == value


def test_a_value_that_occurs_twice_is_one_object():
    shared = [1]
    found = load(pickle.dumps({"a": shared, "b": shared}, 2))
    assert found["a"] is found["b"]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "os.system"),
        (b"cposix\nsystem\n)R.", "posix.system"),
        (b"c__builtin__\neval\n)R.", "eval"),
        (b"cbuiltins\ngetattr\n)R.", "getattr"),
        (b"cbuiltins\n__import__\n)R.", "__import__"),
        (b"csubprocess\nPopen\n)R.", "subprocess.Popen"),
        (b"ctorch.hub\nload\n)R.", "torch.hub.load"),
        (b"ccollections\nOrderedDict.__class__\n)R.", "collections.OrderedDict.__class__"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.", "os.system"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
    ],
)
def test_a_global_that_is_no_container_is_refused_by_name(data, wanted):
    with pytest.raises(RefusedPickleError) as caught:
        load(data)
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b"}",
        b".",
        b"NN.",
        b"\x80\x09N.",
        b"(ios\nsystem\n.",  # INST
        b"(No.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"Pabc\n.",  # PERSID
        b"I1\n.",  # protocol 0
        b"h\x05.",
        b"X\xff\xff\xff\x7fabc.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BINBYTES8
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BYTEARRAY8
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BINUNICODE8
        b"\x8b\xff\xff\xff\x7f.",  # LONG4
        b"NR.",
        b"K\x01)R.",  # calls a number
        b"}K\x01R.",
        b"ccollections\nOrderedDict\nNR.",
        b"ccollections\nOrderedDict\n)b.",
        b"]}b.",  # the state of a list
        b"NK\x01a.",
        b"]K\x01K\x02s.",
        b"}(K\x01u.",
        b"}]K\x01s.",  # a list as key
        b"}\x8a\x14" + b"\x01" * 20 + b"K\x01s.",  # a long integer as key
        b"K\x01\x86.",
        b"(t(",
        b"c\xff\n\n.",
    ],
)
def test_what_torch_never_writes_is_damage(data):
    with pytest.raises(DamagedPickleError) as caught:
        load(data)
    assert "\n" not in str(caught.value)


def nested(levels: int) -> bytes:
    return b"\x80\x02N" + b"\x85" * levels + b"."


BOMBS = {
    "memo": b"\x80\x02Nr\xff\xff\xff\xff.",
    "long text": b"X\xff\xff\xff\xffa.",
    "doubling": b"N" + b"q\x00h\x00\x86" * 60 + b".",
    "doubling as key": b"}N" + b"q\x00h\x00\x86" * 60 + b"Ns.",
    "tuples": nested(200_000),
    "tuples as key": b"}" + nested(50_000)[:-1] + b"Ns.",
    "lists": b"]" * 200_000 + b"a" * 199_999 + b".",
    "steps": b"N0" * 400_000 + b"N.",
    "marks": b"(" * 60_000 + b"t" * 60_000 + b".",
    "colliding keys": b"}"
    + b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"Ns" for k in range(100_000)),
    "colliding floats": b"}("
    + b"".join(struct.pack(">cd", b"G", float(k << 40)) + b"N" for k in range(60_000)) + b"u.",
    "copies of a dict": b"}(" + b"".join(b"J" + struct.pack("<i", k) + b"N" for k in range(50_000)) + b"uq\x00"
    + b"ccollections\nOrderedDict\nh\x00\x85R0" * 10_000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_hostile_pickle_takes_neither_minutes_nor_gigabytes(name):
    """Bars far above what these steps take (a second under tracemalloc) and far below what a copy or a loop would."""
    tracemalloc.start()
    begin = time.monotonic()
    with contextlib.suppress(DamagedPickleError):
        load(BOMBS[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - begin < 30
    assert peak < 100e6


def test_a_pickle_larger_than_any_checkpoints_is_refused(monkeypatch):
    monkeypatch.setattr(torch_pickle, "PICKLE_LIMIT", 10)
    with pytest.raises(DamagedPickleError, match="fewer than 10"):
        load(pickle.dumps("x" * 20, 2))


def test_storages_are_asked_for_by_their_id():
    assert load(b"X\x01\x00\x00\x00aQ.") == ("storage", "a")


def test_the_number_of_steps_is_bounded(monkeypatch):
    monkeypatch.setattr(torch_pickle, "OPCODE_LIMIT", 100)
    assert load(b"N0" * 49 + b"N.") is None
    with pytest.raises(DamagedPickleError, match="more than 100 steps"):
        load(b"N0" * 50 + b"N.")
