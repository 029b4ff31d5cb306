"""Changes of classes: rename, merge, delete. Each is a batch of label events, and one transaction.

A class is there while an example has it. The model learns of a change in the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from core import audit, class_names
from core.audit import Actor
from core.class_names import NONE_OF_THESE, identity, is_class, is_same
from core.errors import ClassTaken, InvalidRequest, UnknownClass
from core.labelling import batches, labels
from core.labelling.classes import join, join_labels_of_older_release
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.store.schema import classes
from core.store.schema import labels as events
from core.store.store import Store
from core.store.tables.tallies import class_sizes, current_labels

MAX_MERGED = 100


@dataclass(frozen=True, slots=True)
class ClassChange:
    batch_id: int
    # Examples that have another label now, or none.
    changed: int
    # As the class is displayed now; None: it was deleted.
    name: str | None


def rename(
    store: Store, old: str, new: str, *, who: str, now: float, by: Actor | None = None
) -> ClassChange:
    """Give a class another name, or another spelling of its name.

    Raises UnknownClass, ClassTaken if another class has the name, InvalidLabel, InvalidRequest.
    """
    new = class_names.normalise(new)

    def change(conn: Connection) -> tuple[dict[str, Any], _Write]:
        name = _existing(conn, old)
        if name == new:
            raise InvalidRequest(f"the class is called {new!r} already; send another name")
        if not is_same(name, new) and (not is_class(new) or _size(conn, new)):
            raise ClassTaken(
                f"there is a class {new!r} already; to make {name!r} part of it, POST "
                "/v1/classes/merge"
            )
        detail = {"from": [name], "to": new, "spelling": _respell(conn, new)}
        return detail, _Relabel((name,), join(conn, new))

    return _change(store, "rename", change, who, now, by)


def merge(
    store: Store,
    names: Sequence[str],
    into: str,
    *,
    who: str,
    now: float,
    by: Actor | None = None,
) -> ClassChange:
    """Make classes one, which may be one of them, a further one, or a new one.

    Raises UnknownClass, InvalidLabel, InvalidRequest.
    """
    if not 1 <= len(names) <= MAX_MERGED:
        raise InvalidRequest(f"{len(names)} classes are to be merged; name 1 to {MAX_MERGED}")
    into = class_names.normalise(into)

    def change(conn: Connection) -> tuple[dict[str, Any], _Write]:
        found = dict.fromkeys(_existing(conn, name) for name in names)
        others = tuple(name for name in found if not is_same(name, into))
        if not others:
            raise InvalidRequest(f"{into!r} is to be merged with itself; name another class")
        into_name = join(conn, into)
        return {"from": list(others), "to": into_name}, _Relabel(others, into_name)

    return _change(store, "merge", change, who, now, by)


def delete(
    store: Store, name: str, *, who: str, now: float, by: Actor | None = None
) -> ClassChange:
    """Take its label from every example of a class. They have no label then, not the one before.

    Raises UnknownClass, InvalidLabel, InvalidRequest.
    """

    def change(conn: Connection) -> tuple[dict[str, Any], _Write]:
        stored = _existing(conn, name)
        return {"from": [stored]}, _Relabel((stored,), None)

    return _change(store, "delete", change, who, now, by)


@dataclass(frozen=True, slots=True)
class _Relabel:
    names: tuple[str, ...]
    # None: no label.
    to: str | None

    def __call__(self, conn: Connection, batch_id: int, who: str, now: float) -> int:
        chosen = select(current_labels.c.example_id).where(_has_label(self.names))
        if self.to is not None:
            return batches.give_each(conn, chosen, self.to, who=who, now=now, batch_id=batch_id)
        number = conn.execute(select(func.count()).select_from(chosen.subquery())).scalar_one()
        of_chosen = events.c.example_id.in_(chosen)
        batches.retract_each(conn, of_chosen, who=who, now=now, batch_id=batch_id)
        return int(number)


_Write = Callable[[Connection, int, str, float], int]
_ACTIONS = {"rename": "class.renamed", "merge": "class.merged", "delete": "class.deleted"}


def _change(
    store: Store,
    kind: str,
    change: Callable[[Connection], tuple[dict[str, Any], _Write]],
    who: str,
    now: float,
    by: Actor | None,
) -> ClassChange:
    check_plain("who", who, MAX_WHO_CHARACTERS)
    join_labels_of_older_release(store.db)
    with store.db.write() as conn, store.db.unlimited(conn):
        labels.lock_order(conn)
        detail, write = change(conn)
        batch_id = batches.add(conn, kind, who, detail, now)
        changed = write(conn, batch_id, who, now)
        batches.set_detail(conn, batch_id, {**detail, "changed": changed})
        subject = f"batch {batch_id}"
        audit.record(conn, by or Actor(who), _ACTIONS[kind], subject, now, count=changed)
    return ClassChange(batch_id, changed, detail.get("to"))


def _existing(conn: Connection, name: str) -> str:
    """The display form of a class that has examples. Raises UnknownClass, InvalidRequest."""
    wanted = class_names.normalise(name)
    if not is_class(wanted):
        raise InvalidRequest(
            f"{NONE_OF_THESE!r} is no class, and stays as it is; label its examples one by one"
        )
    query = select(classes.c.name).where(classes.c.identity == identity(wanted))
    stored = conn.execute(query).scalar()
    if stored is None or not _size(conn, stored):
        raise UnknownClass(
            f"no example is in a class {wanted!r}; it may have been renamed, merged or deleted "
            "already: GET /v1/classes lists the classes, GET /v1/batches the changes"
        )
    return str(stored)


def _size(conn: Connection, name: str) -> int:
    """How many examples have the class of this name."""
    stored = select(classes.c.name).where(classes.c.identity == identity(name)).scalar_subquery()
    number = func.coalesce(func.sum(class_sizes.c.examples), 0)
    return int(conn.execute(select(number).where(class_sizes.c.label == stored)).scalar_one())


def _respell(conn: Connection, name: str) -> str | None:
    """Make this the display form of its class, if the class was ever labelled. Returns the form
    that it had, if that was another one."""
    is_it = classes.c.identity == identity(name)
    before: str | None = conn.execute(select(classes.c.name).where(is_it)).scalar()
    if before in (None, name):
        return None
    conn.execute(update(classes).where(is_it).values(name=name))
    return before


def _has_label(names: Sequence[str]) -> ColumnElement[bool]:
    return current_labels.c.label.in_(names)
