"""Old rows: predictions with the answers of shadows, ended runs and imports, and keys of label
events.

A prediction that a label names stays, as the label is compared with it. So do the runs of kept
versions, and those that the trainer plans by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, or_, select
from sqlalchemy import update as update_rows

from core.retention import doomed
from core.retention.images import BATCH, DAY_S
from core.retention.policy import RetentionPolicy
from core.store.schema import labels, predictions, runs, shadow_answers, versions
from core.store.store import Store
from core.store.tables.review import imports

#: The newest runs stay, whatever their age: `/v1/runs` lists them.
MIN_RUNS = 100


@dataclass(frozen=True, slots=True)
class Place:
    """How far the predictions are swept: those at and before it were seen."""

    created_at: float = 0.0
    id: str = ""


def prediction_cutoff(conn: Connection, policy: RetentionPolicy, now: float) -> float:
    by_age = now - policy.prediction_days * DAY_S if policy.prediction_days else 0.0
    return max(by_age, _newest_at(conn, predictions.c.created_at, policy.max_predictions))


def run_cutoff(conn: Connection, policy: RetentionPolicy, now: float) -> float:
    by_age = now - policy.run_days * DAY_S if policy.run_days else 0.0
    moment = max(by_age, _newest_at(conn, runs.c.finished_at, policy.max_runs))
    hundredth = _newest_at(conn, runs.c.finished_at, MIN_RUNS)
    return min(moment, hundredth)


def _newest_at(conn: Connection, column: ColumnElement[float], number: int) -> float:
    """The time of the newest row behind so many newer ones. 0: there is none, or no limit."""
    if not number:
        return 0.0
    query = select(column).where(column.is_not(None)).order_by(column.desc())
    return float(conn.execute(query.offset(number).limit(1)).scalar() or 0.0)


def count_predictions(conn: Connection, moment: float) -> int:
    query = select(func.count()).where(predictions.c.created_at <= moment, ~_is_labelled())
    return int(conn.execute(query).scalar_one())


def delete_predictions(store: Store, moment: float, after: Place) -> tuple[int, Place | None]:
    """Delete the next predictions up to a moment that no label names, and doom their images.

    Returns how many were deleted, and how far it came; None: there are no more.
    """
    created_at = predictions.c.created_at
    is_next = or_(
        created_at > after.created_at,
        and_(created_at == after.created_at, predictions.c.id > after.id),
    )
    with store.db.read() as conn:
        query = (
            select(
                predictions.c.id,
                predictions.c.image,
                predictions.c.kept_bytes,
                created_at,
                _is_labelled(),
            )
            # The first condition is implied. It lets the database start within its index.
            .where(created_at >= after.created_at, is_next, created_at <= moment)
            .order_by(created_at, predictions.c.id)
            .limit(BATCH)
        )
        rows = conn.execute(query).all()
    old = {row.id: row for row in rows if not row[4]}
    if old:
        with store.db.write() as conn:
            # A label that came meanwhile keeps its prediction.
            named = labels.c.prediction_id.in_(old)
            for prediction_id in conn.scalars(select(labels.c.prediction_id).where(named)):
                old.pop(prediction_id, None)
            kept = {row.image: row.kept_bytes for row in old.values() if row.kept_bytes is not None}
            conn.execute(delete(shadow_answers).where(shadow_answers.c.prediction_id.in_(old)))
            conn.execute(delete(predictions).where(predictions.c.id.in_(old)))
            doomed.doom(conn, doomed.IMAGE, kept)
    place = Place(rows[-1].created_at, rows[-1].id) if len(rows) == BATCH else None
    return len(old), place


def _is_labelled() -> ColumnElement[bool]:
    return exists().where(labels.c.prediction_id == predictions.c.id)


def _old_runs(moment: float) -> Select[tuple[str]]:
    of_version = select(versions.c.run_id).where(
        versions.c.run_id.is_not(None), versions.c.retired_at.is_(None)
    )
    newest = select(func.max(runs.c.finished_at)).group_by(runs.c.tier, runs.c.state)
    last_snapshot = select(func.max(runs.c.snapshot)).where(runs.c.state == "finished")
    return select(runs.c.id).where(
        runs.c.finished_at <= moment,
        runs.c.id.not_in(of_version),
        runs.c.finished_at.not_in(newest),
        func.coalesce(runs.c.snapshot, 0) < func.coalesce(last_snapshot.scalar_subquery(), 1),
    )


def count_runs(conn: Connection, moment: float) -> int:
    return _count(conn, _old_runs(moment))


def delete_runs(store: Store, moment: float) -> int:
    with store.db.read() as conn:
        ids = list(conn.scalars(_old_runs(moment).order_by(runs.c.finished_at).limit(BATCH)))
    if ids:
        with store.db.write(durable=False) as conn:
            conn.execute(delete(runs).where(runs.c.id.in_(ids)))
    return len(ids)


def import_cutoff(conn: Connection, policy: RetentionPolicy, now: float) -> float:
    """As old as runs. The newest ones stay, which `/v1/imports` lists."""
    by_age = now - policy.run_days * DAY_S if policy.run_days else 0.0
    return min(by_age, _newest_at(conn, imports.c.finished_at, MIN_RUNS))


def _old_imports(moment: float) -> Select[tuple[str]]:
    return select(imports.c.id).where(imports.c.finished_at <= moment)


def count_imports(conn: Connection, moment: float) -> int:
    return _count(conn, _old_imports(moment))


def delete_imports(store: Store, moment: float) -> int:
    """Delete some imports that ended up to a moment. Returns how many."""
    with store.db.read() as conn:
        ids = list(conn.scalars(_old_imports(moment).limit(BATCH)))
    if ids:
        with store.db.write(durable=False) as conn:
            conn.execute(delete(imports).where(imports.c.id.in_(ids)))
    return len(ids)


def _old_keys(moment: float) -> Select[tuple[int]]:
    is_old = labels.c.idempotency_key.is_not(None) & (labels.c.created_at <= moment)
    return select(labels.c.id).where(is_old)


def count_keys(conn: Connection, moment: float) -> int:
    return _count(conn, _old_keys(moment))


def forget_keys(store: Store, moment: float) -> int:
    """Forget the idempotency keys of some label events up to a moment. Returns how many."""
    with store.db.read() as conn:
        ids = list(conn.scalars(_old_keys(moment).limit(BATCH)))
    if ids:
        with store.db.write(durable=False) as conn:
            change = update_rows(labels).where(labels.c.id.in_(ids))
            conn.execute(change.values(idempotency_key=None))
    return len(ids)


def _count(conn: Connection, rows: Select[Any]) -> int:
    return int(conn.execute(select(func.count()).select_from(rows.subquery())).scalar_one())
