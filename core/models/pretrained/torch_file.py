"""Read the tensors of a weights file in torch's legacy format, without torch and without pickle.

Such a file is five pickles (magic number, protocol version, machine facts, the state dict, the keys
of the storages), then each storage as its number of elements (int64) and its raw little-endian
elements. `pickletools` only names the opcodes. This module interprets the few that a state dict
needs, and an object is never looked up or called: the four global names below become marks, and
every other name or opcode is refused. Format: `torch/serialization.py`, `_legacy_save`.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import SpecMismatch

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD = "torch._utils _rebuild_tensor_v2"
_MAX_OPCODES = 200_000

_MARK = object()


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    num_elements: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    # In elements, as `shape` and `strides` are.
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """Read every tensor by its state-dict key, in the file's order, as float32 or int64 arrays.

    Raises SpecMismatch for anything but a plain state dict of tensors.
    """
    file = io.BytesIO(content)
    try:
        magic, protocol, _machine, state, keys = (_read_object(file) for _ in range(5))
        if magic != _MAGIC or protocol != _PROTOCOL:
            raise _refused("it does not begin as torch's legacy format does")
        storages = _read_storages(file, _storages_of(state), keys)
        if sum(math.prod(tensor.shape) for tensor in state.values()) > len(content):
            raise _refused("its tensors are larger than the file")
        return {name: _array(tensor, storages) for name, tensor in state.items()}
    except SpecMismatch:
        raise
    except Exception as error:  # whatever a damaged file leads the interpreter to
        raise _refused(f"it is damaged: {error!r}") from error


def _storages_of(state: Any) -> dict[str, _Storage]:
    if not isinstance(state, dict):
        raise _refused("it holds no state dict")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _refused(f"its entry {name!r} is not a tensor")
    return {tensor.storage.key: tensor.storage for tensor in state.values()}


def _read_storages(
    file: io.BytesIO, storages: dict[str, _Storage], keys: Any
) -> dict[str, NDArray[Any]]:
    found = {}
    for key in _as(list, keys):
        storage = storages[_as(str, key)]
        num_elements = int.from_bytes(file.read(8), "little")
        content = file.read(storage.dtype.itemsize * storage.num_elements)
        if (
            num_elements != storage.num_elements
            or len(content) != storage.dtype.itemsize * num_elements
        ):
            raise _refused(f"storage {key} is cut off")
        found[key] = np.frombuffer(content, storage.dtype)
    return found


def _array(tensor: _Tensor, storages: dict[str, NDArray[Any]]) -> NDArray[Any]:
    elements = storages[tensor.storage.key][tensor.offset :]
    # A negative stride or one beyond the storage would read memory of others, and a stride of zero
    # could ask for more memory than there is.
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    least = min((tensor.offset, *tensor.shape, *tensor.strides))
    if least < 0 or max(last + 1, math.prod(tensor.shape)) > len(elements):
        raise _refused("a tensor reaches beyond its storage")
    strides = [step * elements.itemsize for step in tensor.strides]
    return np.array(np.lib.stride_tricks.as_strided(elements, tensor.shape, strides), order="C")


class _Interpreter:
    """The stack machine of one pickle, for plain values, marks of globals and persistent ids."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, value: Any) -> None:
        if name in _VALUES:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[value] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[value])
        elif name == "GLOBAL":
            self.stack.append(_global(value))
        else:
            step = _STEPS.get(name)
            if step is None:
                raise _refused(f"the opcode {name} has no place in a state dict")
            step(self)

    def since_mark(self) -> list[Any]:
        at = max(i for i, value in enumerate(self.stack) if value is _MARK)
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def last(self, count: int) -> list[Any]:
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def put_tuple(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def set_items(self, values: list[Any]) -> None:
        for key, value in zip(values[::2], values[1::2], strict=True):
            _as(dict, self.stack[-1])[_as(str, key)] = value

    def extend(self, values: list[Any]) -> None:
        _as(list, self.stack[-1]).extend(values)

    def name_storage(self) -> None:
        kind, storage_type, key, _device, num_elements, view = self.stack.pop()
        if kind != "storage" or view is not None:
            raise _refused("it has a persistent id that is no storage")
        dtype = _DTYPES[storage_type.name]
        self.stack.append(_Storage(_as(str, key), dtype, _as(int, num_elements)))

    def reduce(self) -> None:
        arguments = _as(tuple, self.stack.pop())
        called = _as(_Global, self.stack.pop()).name
        if called == _ORDERED_DICT and not arguments:
            self.stack.append({})
        elif called == _REBUILD:
            self.stack.append(_tensor(*arguments))
        else:
            raise _refused(f"it calls {called}")

    def build(self) -> None:
        """The state dict's `_metadata` is of no use here."""
        _as(dict, self.stack.pop())
        _as(dict, self.stack[-1])


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _requires_grad: Any, _hooks: Any
) -> _Tensor:
    return _Tensor(_as(_Storage, storage), _as(int, offset), _lengths(shape), _lengths(strides))


def _lengths(value: Any) -> tuple[int, ...]:
    return tuple(_as(int, length) for length in _as(tuple, value))


def _global(value: Any) -> _Global:
    if value not in (_ORDERED_DICT, _REBUILD, *_DTYPES):
        raise _refused(f"it names {value!r}")
    return _Global(value)


def _as(cls: type[Any], value: Any) -> Any:
    if not isinstance(value, cls):
        # Not the value itself: of a nested tuple, even its text may have no end.
        raise _refused(f"a {type(value).__name__} stands where a {cls.__name__} belongs")
    return value


_VALUES = frozenset(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Interpreter], None]] = {
    "TUPLE": lambda machine: machine.put_tuple(machine.since_mark()),
    "TUPLE1": lambda machine: machine.put_tuple(machine.last(1)),
    "TUPLE2": lambda machine: machine.put_tuple(machine.last(2)),
    "TUPLE3": lambda machine: machine.put_tuple(machine.last(3)),
    "SETITEMS": lambda machine: machine.set_items(machine.since_mark()),
    "SETITEM": lambda machine: machine.set_items(machine.last(2)),
    "APPENDS": lambda machine: machine.extend(machine.since_mark()),
    "APPEND": lambda machine: machine.extend(machine.last(1)),
    "BINPERSID": _Interpreter.name_storage,
    "REDUCE": _Interpreter.reduce,
    "BUILD": _Interpreter.build,
    "PROTO": lambda machine: None,
    "STOP": lambda machine: None,
}


def _read_object(file: io.BytesIO) -> Any:
    machine = _Interpreter()
    for count, (opcode, value, _position) in enumerate(pickletools.genops(file)):
        if count > _MAX_OPCODES:
            raise _refused(f"a pickle of it has more than {_MAX_OPCODES:,} opcodes")
        machine.step(opcode.name, value)
    if len(machine.stack) != 1:
        raise _refused("a pickle of it ends with more than one value")
    return machine.stack[0]


def _refused(reason: str) -> SpecMismatch:
    return SpecMismatch(f"the weights file is not read: {reason}; use the file as it was published")
