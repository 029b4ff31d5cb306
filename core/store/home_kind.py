"""The kind of input of a home: chosen when the home is made, and then for good."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import InvalidRequest
from core.inputs import kinds
from core.inputs.kind import InputKind
from core.store.database import Database
from core.store.schema import home, versions

_STORED = select(home.c.input)


def ensure_kind(db: Database, requested: str) -> InputKind:
    """Read the kind, and store it where the home is new: `requested`, or images if that is empty.

    Raises InvalidRequest if another kind is requested than the home has.
    """
    with db.read() as conn:
        stored = conn.execute(_STORED).scalar()
    if stored is None:
        with db.write() as conn:
            # A home from before there were kinds has versions.
            is_new = conn.execute(select(versions.c.number).limit(1)).scalar() is None
            name = kinds.requested(requested).name if is_new else kinds.DEFAULT.name
            dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
            row = {"id": 1, "input": name}
            conn.execute(dialect.insert(home).on_conflict_do_nothing(), row)
            stored = conn.execute(_STORED).scalar_one()
    return _checked(str(stored), requested)


def read_kind(db: Database, requested: str = "") -> InputKind:
    """As `ensure_kind`, of a database that may have older tables, or none. Stores nothing."""
    if (db.revision() or "") < "0016":
        return kinds.DEFAULT
    with db.read() as conn:
        stored = conn.execute(_STORED).scalar()
    return _checked(stored or kinds.DEFAULT.name, requested)


def _checked(stored: str, requested: str) -> InputKind:
    kind = kinds.named(stored)
    if requested and requested != stored:
        raise InvalidRequest(
            f"this home classifies {kind.plural}, and EVERGREEN_INPUT is {requested!r}; leave it "
            f"out, or name another home with EVERGREEN_HOME for {kinds.named(requested).plural}"
        )
    return kind
