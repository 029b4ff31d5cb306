"""What was erased, so that nothing brings it back. `core/erasure/` erases.

An erased example keeps its row, for the ids of its label events. The row says `erased-<id>` in
place of the digest of its image.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.store.schema import examples
from core.store.tables.retention import erased_versions, erasures

_PREFIX = "erased-"
# A prediction that began before an erasure has ended by then.
RECENT_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Erasure:
    id: int
    # The digest of what was erased.
    image: str
    # None: the image was never labelled.
    example_id: int | None
    # The prediction that was named to erase its image; None: the example was.
    prediction_id: str | None
    # The first and the newest of its label events.
    first_event: int | None
    last_event: int | None
    created_at: float
    # None: it was interrupted, and is to be finished.
    finished_at: float | None
    receipt: dict[str, Any]


def is_erased(image: str) -> bool:
    return image.startswith(_PREFIX)


def blank_image(example_id: int) -> str:
    """What the row of an erased example has in place of its image."""
    return f"{_PREFIX}{example_id}"


def has_image() -> ColumnElement[bool]:
    """Examples that are not erased."""
    return examples.c.image.not_like(f"{_PREFIX}%")


def by_example(conn: Connection, example_id: int) -> Erasure | None:
    return _one(conn, erasures.c.example_id == example_id)


def by_prediction(conn: Connection, prediction_id: str) -> Erasure | None:
    return _one(conn, erasures.c.prediction_id == prediction_id)


def by_id(conn: Connection, erasure_id: int) -> Erasure:
    return Erasure(*conn.execute(select(erasures).where(erasures.c.id == erasure_id)).one())


def since(conn: Connection, moment: float) -> list[Erasure]:
    query = select(erasures).where(erasures.c.created_at >= moment).order_by(erasures.c.id)
    return [Erasure(*row) for row in conn.execute(query)]


def newest_id(conn: Connection) -> int:
    """The id of the newest erasure; 0: there is none."""
    return int(conn.execute(select(func.coalesce(func.max(erasures.c.id), 0))).scalar_one())


def add(conn: Connection, **values: Any) -> Erasure:
    result = conn.execute(insert(erasures).values(**values))
    key = result.inserted_primary_key
    assert key is not None
    return by_id(conn, key[0])


def record(
    conn: Connection, erasure_id: int, receipt: dict[str, Any], finished_at: float | None
) -> None:
    change = update(erasures).where(erasures.c.id == erasure_id)
    conn.execute(change.values(receipt=receipt, finished_at=finished_at))


def from_before(conn: Connection, made: Collection[tuple[str, float]]) -> set[tuple[str, float]]:
    """Of predictions, as the image and the time of each, those whose image was erased since."""
    images = {image for image, _ in made}
    columns = (erasures.c.image, erasures.c.created_at)
    rows = conn.execute(select(*columns).where(erasures.c.image.in_(images))).all()
    return {(image, at) for image, at in made if any(r[0] == image and r[1] >= at for r in rows)}


def saw_erased(conn: Connection, snapshot: int) -> bool:
    """Whether what was trained on this snapshot may have seen an example that is erased now."""
    saw = (erasures.c.first_event <= snapshot) & (erasures.c.last_event > snapshot)
    return bool(conn.execute(select(exists().where(saw))).scalar_one())


def add_versions(conn: Connection, numbers: Collection[int], now: float) -> None:
    """Note versions that saw an erased example."""
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    rows = [{"version": number, "erased_at": now} for number in numbers]
    if rows:
        conn.execute(dialect.insert(erased_versions).on_conflict_do_nothing(), rows)


def versions(conn: Connection) -> set[int]:
    """The versions that saw an example which is erased now."""
    return set(conn.scalars(select(erased_versions.c.version)))


def _one(conn: Connection, condition: ColumnElement[bool]) -> Erasure | None:
    row = conn.execute(select(erasures).where(condition)).one_or_none()
    return None if row is None else Erasure(*row)
