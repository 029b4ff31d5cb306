"""Shadow answers: a row per prediction and shadow, and tallies of agreement with the champion.

`core/shadows/outcomes.py` compares them with labels.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Executable, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from core.store.schema import shadow_answers
from core.store.tables.tallies import shadow_tallies


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    prediction_id: str
    version: int
    label: str
    # The version that gave the primary answer.
    champion: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Tally:
    version: int
    answers: int
    agreements: int


def add(conn: Connection, rows: Sequence[ShadowAnswer], now: float) -> None:
    """Insert the answers and add them to the tallies."""
    conn.execute(
        insert(shadow_answers),
        [
            {"prediction_id": row.prediction_id, "version": row.version, "label": row.label}
            for row in rows
        ],
    )
    answers = Counter((row.version, row.champion) for row in rows)
    agreements = Counter((row.version, row.champion) for row in rows if row.agrees)
    conn.execute(
        _upsert_tally(conn.dialect.name),
        [
            {
                "version": version,
                "champion": champion,
                "answers": answers[version, champion],
                "agreements": agreements[version, champion],
                "last_at": now,
            }
            # Sorted, so that concurrent processes cannot deadlock on each other's rows.
            for version, champion in sorted(answers)
        ],
    )


@functools.cache
def _upsert_tally(dialect_name: str) -> Executable:
    new = (sqlite if dialect_name == "sqlite" else postgresql).insert(shadow_tallies)
    statement: Executable = new.on_conflict_do_update(
        index_elements=["version", "champion"],
        set_={
            "answers": shadow_tallies.c.answers + new.excluded.answers,
            "agreements": shadow_tallies.c.agreements + new.excluded.agreements,
            "last_at": new.excluded.last_at,
        },
    )
    return statement


def tally(conn: Connection, version: int, champion: int | None = None) -> Tally:
    """Return a shadow's tally with one champion, or with all of them."""
    query = select(
        func.coalesce(func.sum(shadow_tallies.c.answers), 0),
        func.coalesce(func.sum(shadow_tallies.c.agreements), 0),
    ).where(shadow_tallies.c.version == version)
    if champion is not None:
        query = query.where(shadow_tallies.c.champion == champion)
    row = conn.execute(query).one()
    return Tally(version, int(row[0]), int(row[1]))


def recent_tallies(conn: Connection, champion: int, limit: int) -> list[Tally]:
    """Return the tallies with this champion, those with the newest answer first."""
    rows = conn.execute(
        select(shadow_tallies.c.version, shadow_tallies.c.answers, shadow_tallies.c.agreements)
        .where(shadow_tallies.c.champion == champion)
        .order_by(shadow_tallies.c.last_at.desc(), shadow_tallies.c.version.desc())
        .limit(limit)
    )
    return [Tally(*row) for row in rows]
