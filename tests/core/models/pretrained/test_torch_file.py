"""The reader of torch's legacy files. The hostile files are made with pickle and opened by it."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import SpecMismatch
from core.models.pretrained.torch_file import read_tensors

pytestmark = pytest.mark.slow  # not in `make check`

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}


class Named:
    """Pickles as a global of this name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Called:
    """Pickles as a call of a global."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, arguments


class Storage:
    def __init__(self, key: str, count: int, kind: str = "torch FloatStorage") -> None:
        self.key, self.count, self.kind = key, count, kind


class Writer(pickle._Pickler):
    """Writes the names above without importing what they name."""

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Storage):
            return ("storage", Named(obj.kind), obj.key, "cpu", obj.count, None)
        return None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Named):
            self.write(b"c" + obj.name.replace(" ", "\n").encode() + b"\n")
        elif isinstance(obj, Called):
            self.save(Named(obj.name))
            self.save(obj.arguments)
            self.write(b"R")
        else:
            super().save(obj, save_persistent_id)


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    Writer(file, protocol=2).dump(value)
    return file.getvalue()


def tensor(key: str, count: int, shape: tuple[int, ...], strides: tuple[int, ...], offset=0) -> Any:
    empty = Called("collections OrderedDict")
    return Called(
        "torch._utils _rebuild_tensor_v2", Storage(key, count), offset, shape, strides, False, empty
    )


def file_of(state: Any, storages: dict[str, bytes], keys: Any = None) -> bytes:
    parts = [pickled(value) for value in (MAGIC, PROTOCOL, MACHINE, state)]
    parts.append(pickled(list(storages) if keys is None else keys))
    for content in storages.values():
        parts.append(struct.pack("<q", len(content) // 4) + content)
    return b"".join(parts)


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def test_tensors_are_read_by_their_keys() -> None:
    state = {"a": tensor("1", 6, (2, 3), (3, 1)), "b": tensor("2", 1, (), ())}
    read = read_tensors(file_of(state, {"1": floats(0, 1, 2, 3, 4, 5), "2": floats(7)}))
    np.testing.assert_array_equal(read["a"], [[0, 1, 2], [3, 4, 5]])
    assert read["a"].dtype == np.float32
    assert read["b"] == 7
    assert read["b"].shape == ()


def test_transposed_tensor_with_an_offset_is_read_as_torch_reads_it() -> None:
    state = {"a": tensor("1", 7, (3, 2), (1, 3), offset=1)}
    read = read_tensors(file_of(state, {"1": floats(9, 0, 1, 2, 3, 4, 5)}))
    np.testing.assert_array_equal(read["a"], [[0, 3], [1, 4], [2, 5]])
    assert read["a"].flags.c_contiguous


@pytest.mark.training
def test_file_of_torch_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the training extra is not installed")
    state = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict()
    state["turned"] = torch.arange(6.0).reshape(2, 3).t()
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    read = read_tensors(path.read_bytes())
    assert list(read) == list(state)
    assert all(np.array_equal(read[key], state[key].numpy()) for key in state)


class Runs:
    """Unpickled by pickle, this calls `os.mkdir`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_runs_code_runs_nothing(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    attack = pickle.dumps(Runs(made), protocol)
    pickle.loads(attack)
    assert made.is_dir()  # the attack works
    made.rmdir()
    parts = [pickled(value) for value in (MAGIC, PROTOCOL, MACHINE, {}, [])]
    for place in range(5):
        hostile = [*parts[:place], attack, *parts[place + 1 :]]
        with pytest.raises(SpecMismatch, match="the weights file is not read"):
            read_tensors(b"".join(hostile))
    assert not made.exists()


HOSTILE: dict[str, Any] = {
    "another global": {"a": Named("os system")},
    "a call of a storage": {"a": Called("torch FloatStorage", 10**12)},
    "a tensor beyond its storage": {"a": tensor("1", 2, (3,), (1,))},
    "an offset beyond its storage": {"a": tensor("1", 2, (1,), (1,), offset=2)},
    "a negative offset": {"a": tensor("1", 2, (1,), (1,), offset=-1)},
    "a negative stride": {"a": tensor("1", 2, (2,), (-1,))},
    "a stride of zero": {"a": tensor("1", 2, (10**12,), (0,))},
    "a storage larger than the file": {"a": tensor("1", 10**12, (2,), (1,))},
    "many views of one storage": {f"{i}": tensor("1", 2, (2,), (1,)) for i in range(20_000)},
    "a list in place of the state": [1, 2],
    "a number in place of a tensor": {"a": 1},
    "a key that is no text": {1: tensor("1", 2, (2,), (1,))},
    "a storage of another type": {
        "a": Called(
            "torch._utils _rebuild_tensor_v2",
            Storage("1", 2, "torch HalfStorage"),
            *(0, (2,), (1,), False, None),
        )
    },
}


@pytest.mark.parametrize("state", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_state_is_refused(state: Any) -> None:
    with pytest.raises(SpecMismatch, match="the weights file is not read"):
        read_tensors(file_of(state, {"1": floats(1, 2)}))


def test_nested_tuples_without_end_are_refused_at_once() -> None:
    doubled = (
        b"\x80\x02)"
        + b"q\x00h\x00\x86" * 1
        + b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, 200))
    )
    hostile = b"\x80\x02}" + doubled[2:] + b"K\x01s."
    parts = [pickled(value) for value in (MAGIC, PROTOCOL, MACHINE)]
    with pytest.raises(SpecMismatch, match="a tuple stands where a str belongs"):
        read_tensors(b"".join([*parts, hostile, pickled([])]))


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 0.5, 0.99])
def test_file_that_is_cut_off_is_refused(kept: float) -> None:
    whole = file_of({"a": tensor("1", 2, (2,), (1,))}, {"1": floats(1, 2)})
    end = int(kept * len(whole)) if isinstance(kept, float) else kept
    with pytest.raises(SpecMismatch, match="the weights file is not read"):
        read_tensors(whole[:end])


def test_a_dictionary_in_order_is_a_state() -> None:
    state = OrderedDict(a=tensor("1", 2, (2,), (1,)))
    np.testing.assert_array_equal(read_tensors(file_of(state, {"1": floats(1, 2)}))["a"], [1, 2])
