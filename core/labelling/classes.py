"""The classes that were ever labelled: one display form for each identity, the first one given."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, insert, select, update

from core.class_names import NONE_OF_THESE, identity
from core.labelling.labels import lock_order
from core.store.database import Database
from core.store.schema import classes, labels
from core.store.tables.tallies import class_sizes, current_labels

# Of the labels that are current: a class may have had another display form earlier.
_WITHOUT_CLASS = (
    select(class_sizes.c.label)
    .distinct()
    .outerjoin(classes, classes.c.name == class_sizes.c.label)
    .where(class_sizes.c.examples > 0, classes.c.name.is_(None))
    .order_by(class_sizes.c.label)
)
# As a class, from before the label had its meaning.
_OTHER_NONE = select(classes.c.name).where(
    classes.c.identity == identity(NONE_OF_THESE), classes.c.name != NONE_OF_THESE
)


@dataclass(frozen=True, slots=True)
class ClassRow:
    name: str
    # That have it now, and those of them that are held out.
    examples: int
    held_out: int
    # When the newest label of this name was given.
    last_label_at: float | None


def listing(conn: Connection, *, limit: int, after: str | None = None) -> list[ClassRow]:
    """Return the classes that examples have, by name; with `after`, those behind that name."""
    if "\0" in (after or ""):  # PostgreSQL refuses it, and no name has it
        return []
    number = func.sum(class_sizes.c.examples)
    held_out = func.sum(case((class_sizes.c.is_held_out, class_sizes.c.examples), else_=0))
    sizes = (
        select(class_sizes.c.label, number.label("number"), held_out.label("held_out"))
        .where(class_sizes.c.label != NONE_OF_THESE)
        .group_by(class_sizes.c.label)
        .having(number > 0)
        .order_by(class_sizes.c.label)
        .limit(limit)
    )
    if after is not None:
        sizes = sizes.where(class_sizes.c.label > after)
    page = sizes.subquery("page")
    # As a range: for an equal label PostgreSQL might read all events backwards by their ids, which
    # are many where a class was not labelled for long.
    last = (
        select(labels.c.created_at)
        .where(labels.c.label >= page.c.label, labels.c.label <= page.c.label)
        .order_by(labels.c.label.desc(), labels.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = conn.execute(
        select(page.c.label, page.c.number, page.c.held_out, last).order_by(page.c.label)
    )
    return [ClassRow(row[0], int(row[1]), int(row[2]), row[3]) for row in rows]


def num_examples(conn: Connection, label: str) -> int:
    """How many examples have exactly this label."""
    number = func.coalesce(func.sum(class_sizes.c.examples), 0)
    return int(conn.execute(select(number).where(class_sizes.c.label == label)).scalar_one())


def join(conn: Connection, label: str) -> str:
    """Return the display form of the label's class, which is the label itself if it is the first.

    The caller holds `labels.lock_order`, so that two first spellings cannot both be stored.
    """
    key = identity(label)
    name = conn.execute(select(classes.c.name).where(classes.c.identity == key)).scalar()
    if key == identity(NONE_OF_THESE):
        label = NONE_OF_THESE
        if name not in (None, label):
            conn.execute(update(classes).where(classes.c.identity == key).values(name=label))
            return label
    if name is not None:
        return str(name)
    conn.execute(insert(classes).values(identity=key, name=label))
    return label


def join_current(conn: Connection) -> None:
    """Give current labels the display form of their class: a retraction may bring back one from
    before a rename, and an undone rename leaves those that were given since.

    The caller holds `labels.lock_order`.
    """
    for label in conn.execute(_WITHOUT_CLASS).scalars().all():
        name = join(conn, label)
        if name != label:
            events = select(current_labels.c.event_id).where(current_labels.c.label == label)
            conn.execute(update(labels).where(labels.c.id.in_(events)).values(label=name))


def join_labels_of_older_release(db: Database) -> None:
    """A release that knows no classes may still serve beside this one. Give its labels the display
    form of their class."""
    with db.read() as conn:
        if all(
            conn.execute(each.limit(1)).first() is None for each in (_WITHOUT_CLASS, _OTHER_NONE)
        ):
            return
    with db.write() as conn:
        lock_order(conn)
        if conn.execute(_OTHER_NONE).first() is not None:
            join(conn, NONE_OF_THESE)
        for label in conn.execute(_WITHOUT_CLASS).scalars().all():
            name = join(conn, label)
            if name != label:
                conn.execute(update(labels).where(labels.c.label == label).values(label=name))


def read_names(conn: Connection) -> dict[str, str]:
    """Return the display form of every class, by identity."""
    return {row.identity: row.name for row in conn.execute(select(classes))}
