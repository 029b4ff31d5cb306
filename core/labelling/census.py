"""What can be trained on: which classes have joined, and what is missing if too few have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from core.errors import NotEnoughLabels
from core.labelling import labels
from core.labelling.labels import CurrentLabel

# A class joins once it has this many examples to train on.
MIN_EXAMPLES_OF_CLASS = 2
MIN_CLASSES = 2


@dataclass(frozen=True, slots=True)
class Census:
    """How many examples train, by class; the classes that have joined, in alphabetical order."""

    num_trained: dict[str, int]
    num_held_out: int
    classes: tuple[str, ...]

    @property
    def is_enough(self) -> bool:
        return len(self.classes) >= MIN_CLASSES


def read_census(conn: Connection) -> Census:
    """The census of now, counted by the database."""
    trained: Counter[str] = Counter()
    num_held_out = 0
    for label, is_held_out, number in labels.count_current(conn):
        if is_held_out:
            num_held_out += number
        else:
            trained[label] += number
    return _census(trained, num_held_out)


def take_census(current: Sequence[CurrentLabel]) -> Census:
    """The census of some labels, those of a snapshot for one."""
    trained = Counter(row.label for row in current if not row.is_held_out)
    return _census(trained, sum(row.is_held_out for row in current))


def require_enough(conn: Connection) -> Census:
    """Raises NotEnoughLabels, which says what is missing."""
    found = read_census(conn)
    check_enough(found)
    return found


def check_enough(found: Census) -> None:
    """Raises NotEnoughLabels."""
    if not found.is_enough:
        raise NotEnoughLabels(describe_missing(found))


def describe_missing(found: Census) -> str:
    need = f"training needs {MIN_CLASSES} classes of {MIN_EXAMPLES_OF_CLASS} images each"
    if not found.num_trained:
        return f"nothing is labelled yet; {need}: post images to /v1/feedback"
    there = ", ".join(f"{name!r}: {n}" for name, n in list(found.num_trained.items())[:10])
    return f"there are too few labels ({there}); {need}: label images of another class"


def _census(trained: Counter[str], num_held_out: int) -> Census:
    joined = tuple(sorted(c for c, n in trained.items() if n >= MIN_EXAMPLES_OF_CLASS))
    return Census(dict(sorted(trained.items())), num_held_out, joined)
