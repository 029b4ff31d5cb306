"""The classes that were ever labelled: one display form for each identity, the first one given."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from core.class_names import NONE_OF_THESE, identity
from core.labelling.labels import lock_order
from core.store.database import Database
from core.store.schema import classes, labels
from core.store.tables.tallies import class_sizes

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
