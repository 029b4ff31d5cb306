"""The classes that were ever labelled: one display form for each identity, the first one given."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from core.class_names import identity
from core.store.schema import classes


def join(conn: Connection, label: str) -> str:
    """Return the display form of the label's class, which is the label itself if it is the first.

    The caller holds `labels.lock_order`, so that two first spellings cannot both be stored.
    """
    key = identity(label)
    name = conn.execute(select(classes.c.name).where(classes.c.identity == key)).scalar()
    if name is not None:
        return str(name)
    conn.execute(insert(classes).values(identity=key, name=label))
    return label


def read_names(conn: Connection) -> dict[str, str]:
    """Return the display form of every class, by identity."""
    return {row.identity: row.name for row in conn.execute(select(classes))}
