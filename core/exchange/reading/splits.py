"""Names of the two sides of a data set: examples to train on, and held-out ones."""

from __future__ import annotations

TRAINED = "train"
HELD_OUT = "held_out"

_IS_HELD_OUT = {
    TRAINED: False,
    "training": False,
    "val": True,
    "valid": True,
    "validation": True,
    "dev": True,
    "test": True,
    "testing": True,
    HELD_OUT: True,
    "held-out": True,
    "holdout": True,
}
# What folders are called by, which classes hardly are.
_OF_FOLDERS = _IS_HELD_OUT.keys() - {"dev"}


def side_of(name: str) -> bool | None:
    """Whether examples of this split are held out. None: no split is called so."""
    return _IS_HELD_OUT.get(name.strip().casefold())


def is_split_folder(name: str) -> bool:
    return name.casefold() in _OF_FOLDERS
