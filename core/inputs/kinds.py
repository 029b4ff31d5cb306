"""Which kind of input a home, a manifest or a graph has. Nothing else asks for a kind by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import SpecMismatch
from core.inputs.kind import InputKind, InputSpec
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS

_KINDS: tuple[InputKind, ...] = (PIXELS, TOKENS)

#: As EVERGREEN_INPUT names them. A new home takes the first.
NAMES = tuple(kind.name for kind in _KINDS)
DEFAULT = _KINDS[0]


def named(name: str) -> InputKind:
    """By one of `NAMES`."""
    return next(kind for kind in _KINDS if kind.name == name)


def wished(name: str) -> InputKind:
    """Of a new home, by the setting EVERGREEN_INPUT, which may be empty."""
    return named(name) if name else DEFAULT


def of_graph(inputs: Iterable[str]) -> InputKind:
    """By the names of a graph's inputs. Raises SpecMismatch."""
    found = set(inputs)
    for kind in _KINDS:
        if found == set(kind.onnx_inputs):
            return kind
    known = " or ".join(", ".join(kind.onnx_inputs) for kind in _KINDS)
    raise SpecMismatch(
        f"the backbone has the inputs {', '.join(sorted(found)) or 'none'}; it must have {known}"
    )


def of_spec(spec: InputSpec) -> InputKind:
    return next(kind for kind in _KINDS if kind.spec_key == spec.key)


def read_spec(fields: Mapping[str, Any]) -> InputSpec:
    """The spec among the fields of a manifest, which has it under its kind's key.

    Raises SpecMismatch.
    """
    for kind in _KINDS:
        if kind.spec_key in fields:
            return kind.read_spec(fields[kind.spec_key])
    raise SpecMismatch(
        "there is no input spec; one of "
        f"{', '.join(kind.spec_key for kind in _KINDS)} must say how inputs are decoded"
    )
