"""Census: how many examples each class has, whether they are enough to train on, and whether any
has left its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from core.class_names import NONE_OF_THESE, is_class
from core.errors import NotEnoughLabels
from core.labelling import labels
from core.labelling.labels import CurrentLabel
from core.store.schema import labels as events
from core.store.tables.tallies import current_labels

# A class is trained from this many training examples on.
MIN_EXAMPLES_OF_CLASS = 2
MIN_CLASSES = 2


@dataclass(frozen=True, slots=True)
class Census:
    """`num_trained` counts training examples by class, of every class that is labelled. An example
    that is labelled `none of these` is in no class, and is counted nowhere.

    `classes` are those with enough of them, in alphabetical order.
    """

    num_trained: dict[str, int]
    num_held_out: int
    classes: tuple[str, ...]

    @property
    def is_enough(self) -> bool:
        return len(self.classes) >= MIN_CLASSES


def read_census(conn: Connection) -> Census:
    """Count the current labels in the database."""
    trained: Counter[str] = Counter()
    num_held_out = 0
    for label, is_held_out, number in labels.count_current(conn):
        if not is_class(label):
            continue
        if is_held_out:
            num_held_out += number
        else:
            trained[label] += number
    return _census(trained, num_held_out)


def take_census(current: Sequence[CurrentLabel]) -> Census:
    """Count the given labels, such as those of a snapshot."""
    of_classes = [row for row in current if is_class(row.label)]
    trained = Counter(row.label for row in of_classes if not row.is_held_out)
    return _census(trained, sum(row.is_held_out for row in of_classes))


def require_enough(conn: Connection) -> Census:
    """Return the census. Raises NotEnoughLabels, whose message says what is missing."""
    census = read_census(conn)
    check_enough(census)
    return census


def check_enough(census: Census) -> None:
    """Raises NotEnoughLabels."""
    if not census.is_enough:
        raise NotEnoughLabels(describe_missing(census))


def describe_missing(census: Census) -> str:
    need = f"training needs {MIN_CLASSES} classes of {MIN_EXAMPLES_OF_CLASS} examples each"
    if not census.num_trained:
        return f"nothing is labelled yet; {need}: send labels to /v1/feedback"
    counts = ", ".join(f"{name!r}: {n}" for name, n in list(census.num_trained.items())[:10])
    return f"there are too few labels ({counts}); {need}: label examples of another class"


def has_left_a_class(conn: Connection, snapshot: int) -> bool:
    """Whether an example was in a class as of the snapshot, and is in another or in none now."""
    new, given, retraction = events.alias("new"), events.alias("given"), events.alias("retraction")
    was_retracted = exists().where(retraction.c.retracts == given.c.id, retraction.c.id <= snapshot)
    label_then = (
        select(given.c.label)
        .where(
            given.c.example_id == new.c.example_id,
            given.c.id <= snapshot,
            given.c.label.is_not(None),
            ~was_retracted,
        )
        .order_by(given.c.id.desc())
        .limit(1)
        .correlate(new)
        .scalar_subquery()
    )
    query = (
        select(new.c.id)
        .outerjoin(current_labels, current_labels.c.example_id == new.c.example_id)
        .where(
            new.c.id > snapshot,
            func.coalesce(label_then, NONE_OF_THESE).not_in(
                (NONE_OF_THESE, func.coalesce(current_labels.c.label, NONE_OF_THESE))
            ),
        )
    )
    return conn.execute(query.limit(1)).first() is not None


def _census(trained: Counter[str], num_held_out: int) -> Census:
    classes = tuple(sorted(c for c, n in trained.items() if n >= MIN_EXAMPLES_OF_CLASS))
    return Census(dict(sorted(trained.items())), num_held_out, classes)
