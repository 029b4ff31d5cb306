"""Which kind of input a home, a manifest or a graph has. Nothing else asks for a kind by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import SpecMismatch
from core.inputs.kind import InputKind, InputSpec
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS

ALL: tuple[InputKind, ...] = (PIXELS, TOKENS)

#: As EVERGREEN_INPUT names them. A new home takes the first.
NAMES = tuple(kind.name for kind in ALL)
DEFAULT = ALL[0]


def named(name: str) -> InputKind:
    """By one of `NAMES`."""
    return next(kind for kind in ALL if kind.name == name)


def requested(name: str) -> InputKind:
    """Of a new home, by the setting EVERGREEN_INPUT, which may be empty."""
    return named(name) if name else DEFAULT


def of_field(name: str) -> InputKind | None:
    """The kind whose inputs have this name in forms and in paths, if there is one."""
    return next((kind for kind in ALL if kind.wire.field == name), None)


def of_graph(inputs: Iterable[str]) -> InputKind:
    """By the names of a graph's inputs. Raises SpecMismatch."""
    found = set(inputs)
    for kind in ALL:
        if found == set(kind.onnx_inputs):
            return kind
    known = " or ".join(", ".join(kind.onnx_inputs) for kind in ALL)
    raise SpecMismatch(
        f"the backbone has the inputs {', '.join(sorted(found)) or 'none'}; it must have {known}"
    )


def of_spec(spec: InputSpec) -> InputKind:
    return next(kind for kind in ALL if kind.spec_key == spec.key)


def read_spec(fields: Mapping[str, Any]) -> InputSpec:
    """The spec among the fields of a manifest, which has it under its kind's key.

    Raises SpecMismatch.
    """
    for kind in ALL:
        if kind.spec_key in fields:
            return kind.read_spec(fields[kind.spec_key])
    raise SpecMismatch(
        "there is no input spec; one of "
        f"{', '.join(kind.spec_key for kind in ALL)} must say how inputs are decoded"
    )
