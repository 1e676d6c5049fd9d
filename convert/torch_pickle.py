"""The pickle inside a torch file, read without executing it: an interpreter of the few opcodes that torch.save writes.

pickle.Unpickler is not used even with a restricted find_class: its memo grows to whatever index a file names, a byte
string takes the memory its header announces before a byte was read, and hashing nested tuples overflows the C stack.
Here every opcode makes at most one small object (a stand-in never copies what it is given: a pickle could ask for the
copy a million times), the number of opcodes is bounded, only plain values become keys, a set is a list, and a global is
a name looked up in a table of stand-ins. Stdlib only; imports neither torch nor pickle.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Mapping
from typing import Any

PICKLE_LIMIT = 64_000_000  # bytes; 956 tensors of Paraformer-large take 0.13 MB
OPCODE_LIMIT = 2_000_000  # about 25 a tensor
KEY_BITS = 64  # a longer integer is no key: such keys can be made to collide
KEY_LIMIT = 10_000  # characters


class DamagedPickleError(ValueError):
    """The bytes are no pickle that torch.save writes; the message says where it ends."""


class RefusedPickleError(ValueError):
    """The pickle asks for something that is no tensor and no plain container; the message is its dotted name."""


class Plain:
    """A global that is allowed: `build` makes its stand-in from the pickled arguments, or it is a bare value.

    Identity is all that a key needs of it.
    """

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[..., Any] | None = None):
        self.name = name
        self.build = build


class _Mark:
    __slots__ = ()


MARK = _Mark()


def load(data: bytes, known: Mapping[str, Plain], storage: Callable[[Any], Any]) -> Any:
    """Return what a pickle holds; nothing in it is imported or called except through `known`.

    Args:
        data: the pickle.
        known: dotted name -> stand-in.
        storage: makes a storage from a persistent id.

    Raises:
        DamagedPickleError: not a whole pickle, or larger than any checkpoint's.
        RefusedPickleError: another global.
    """
    if len(data) > PICKLE_LIMIT:
        raise DamagedPickleError(f"its pickle has {len(data)} bytes, a checkpoint's has fewer than {PICKLE_LIMIT}")
    machine = _Machine(data, known, storage)
    try:
        return machine.run()
    except (RefusedPickleError, DamagedPickleError):
        raise
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error, AttributeError) as error:
        reason = str(error).split("\n")[0][:120]
        raise DamagedPickleError(
            f"its pickle breaks off or is malformed at byte {machine.position} ({type(error).__name__}: {reason})"
        ) from error


class _Machine:
    def __init__(self, data: bytes, known: Mapping[str, Plain], storage: Callable[[Any], Any]):
        self.data, self.known, self.storage = data, known, storage
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(OPCODE_LIMIT):
            code = self.data[self.position]
            self.position += 1
            if code == STOP:
                (result,) = self.stack
                return result
            operation = OPERATIONS.get(code)
            if operation is None:
                raise DamagedPickleError(
                    f"its pickle has the opcode {bytes([code])!r}, which torch.save does not write"
                )
            operation(self)
        raise DamagedPickleError(f"its pickle has more than {OPCODE_LIMIT} steps; not a checkpoint")

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise DamagedPickleError(f"its pickle breaks off at byte {self.position}")
        found = self.data[self.position : end]
        self.position = end
        return found

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.index(b"\n", self.position)
        found = self.data[self.position : end].decode("utf-8")
        self.position = end + 1
        return found

    def text(self, form: str) -> str:
        return self.take(self.number(form)).decode("utf-8", "surrogatepass")

    def pop_mark(self) -> list[Any]:
        """Take everything above the last mark off the stack, and the mark."""
        stack = self.stack
        for index in range(len(stack) - 1, -1, -1):
            if stack[index] is MARK:
                items = stack[index + 1 :]
                del stack[index:]
                return items
        raise DamagedPickleError(f"its pickle is malformed at byte {self.position} (no mark)")


# ------------------------------------------------------------------------------------------------ operations


def _push(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.stack.append(make(machine))

    return operation


def _tuple(count: int) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        if len(machine.stack) < count:
            raise DamagedPickleError(f"its pickle is malformed at byte {machine.position} (an empty stack)")
        items = tuple(machine.stack[len(machine.stack) - count :])
        del machine.stack[len(machine.stack) - count :]
        machine.stack.append(items)

    return operation


def _append(machine: _Machine) -> None:
    item = machine.stack.pop()
    _list(machine).append(item)


def _extend(machine: _Machine) -> None:
    items = machine.pop_mark()
    _list(machine).extend(items)


def _list(machine: _Machine) -> list[Any]:
    if type(machine.stack[-1]) is not list:
        raise DamagedPickleError(f"its pickle appends to a {type(machine.stack[-1]).__name__}")
    return machine.stack[-1]


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _dict(machine)[_key(key)] = value


def _set_items(machine: _Machine) -> None:
    items = machine.pop_mark()
    target = _dict(machine)
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_key(key)] = value


def _dict(machine: _Machine) -> dict[Any, Any]:
    if type(machine.stack[-1]) is not dict:
        raise DamagedPickleError(f"its pickle sets an item of a {type(machine.stack[-1]).__name__}")
    return machine.stack[-1]


def _key(value: Any) -> Hashable:
    """Return `value` where it may be a key: plain, and hashed in one step. A flat tuple of such values is one too."""
    if isinstance(value, tuple) and len(value) <= 16 and not any(isinstance(item, tuple) for item in value):
        return tuple(map(_key, value))
    if type(value) is int and value.bit_length() > KEY_BITS:
        raise DamagedPickleError("its pickle has an integer of more than 64 bits as a key")
    if value is None or type(value) in (int, float, bool) or isinstance(value, Plain):
        return value
    if isinstance(value, (str, bytes)) and len(value) <= KEY_LIMIT:
        return value
    raise DamagedPickleError(f"its pickle has a {type(value).__name__} as a key")


def _global(machine: _Machine) -> None:
    module = machine.line()
    machine.stack.append(_lookup(machine, module, machine.line()))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise DamagedPickleError("its pickle names a global that is no text")
    machine.stack.append(_lookup(machine, module, name))


def _lookup(machine: _Machine, module: str, name: str) -> Plain:
    dotted = f"{module}.{name}"
    found = machine.known.get(dotted)
    if found is None:
        raise RefusedPickleError(dotted.removeprefix("__builtin__.").removeprefix("builtins."))
    return found


def _reduce(machine: _Machine) -> None:
    arguments, made_by = machine.stack.pop(), machine.stack.pop()
    if not isinstance(made_by, Plain) or made_by.build is None or type(arguments) is not tuple:
        raise DamagedPickleError("its pickle calls something that is not callable")
    machine.stack.append(made_by.build(*arguments))


def _build(machine: _Machine) -> None:
    """Drop the state that would be set: the attributes of an OrderedDict or of a numpy type are no weights."""
    machine.stack.pop()
    owner = machine.stack[-1]
    if type(owner) is not dict and not (isinstance(owner, Plain) and owner.build is None):
        raise DamagedPickleError(f"its pickle sets the state of a {type(owner).__name__}")


def _persistent(machine: _Machine) -> None:
    machine.stack.append(machine.storage(machine.stack.pop()))


def _get(form: str) -> Callable[[_Machine], None]:
    return _push(lambda machine: machine.memo[machine.number(form)])


def _put(form: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.memo[machine.number(form)] = machine.stack[-1]

    return operation


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _protocol(machine: _Machine) -> None:
    version = machine.number("<B")
    if version > 5:
        raise DamagedPickleError(f"its pickle has protocol {version}, which there is none")


def _skip_frame(machine: _Machine) -> None:
    machine.take(8)


def _pop(machine: _Machine) -> None:
    machine.stack.pop()


def _marked_tuple(machine: _Machine) -> None:
    machine.stack.append(tuple(machine.pop_mark()))


STOP = ord(".")
OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    code[0]: operation
    for code, operation in {
        b"\x80": _protocol, b"\x95": _skip_frame, b"0": _pop,
        b"(": _push(lambda machine: MARK), b"N": _push(lambda machine: None),
        b"\x88": _push(lambda machine: True), b"\x89": _push(lambda machine: False),
        b"J": _push(lambda machine: machine.number("<i")), b"K": _push(lambda machine: machine.number("<B")),
        b"M": _push(lambda machine: machine.number("<H")), b"G": _push(lambda machine: machine.number(">d")),
        b"\x8a": _push(lambda machine: int.from_bytes(machine.take(machine.number("<B")), "little", signed=True)),
        b"X": _push(lambda machine: machine.text("<I")), b"\x8c": _push(lambda machine: machine.text("<B")),
        b"T": _push(lambda machine: machine.text("<i")), b"U": _push(lambda machine: machine.text("<B")),
        b"B": _push(lambda machine: machine.take(machine.number("<I"))),
        b"C": _push(lambda machine: machine.take(machine.number("<B"))),
        b"}": _push(lambda machine: {}), b"]": _push(lambda machine: []), b"\x8f": _push(lambda machine: []),
        b")": _push(lambda machine: ()), b"t": _marked_tuple,
        b"\x85": _tuple(1), b"\x86": _tuple(2), b"\x87": _tuple(3),
        b"a": _append, b"e": _extend, b"s": _set_item, b"u": _set_items, b"\x90": _extend,
        b"c": _global, b"\x93": _stack_global, b"R": _reduce, b"\x81": _reduce, b"b": _build, b"Q": _persistent,
        b"h": _get("<B"), b"j": _get("<I"), b"q": _put("<B"), b"r": _put("<I"), b"\x94": _memoize,
    }.items()
}  # fmt: skip
