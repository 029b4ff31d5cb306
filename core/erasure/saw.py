"""Which versions saw an example, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from core import erased
from core.registry import promotions
from core.registry import versions as registry
from core.retention.policy import RetentionPolicy
from core.review import lineage
from core.store.schema import examples, runs, versions

_EVERY = 1_000_000


@dataclass(frozen=True, slots=True)
class Saw:
    version: int
    # Its head was trained or judged on the example. False: only its backbone was tuned on it.
    by_examples: bool


def versions_that_saw(conn: Connection, example_id: int) -> list[Saw]:
    """Newest first."""
    numbers = {sight.version for sight in lineage.sights_of(conn, example_id, limit=_EVERY)}
    tuned = (
        select(versions.c.backbone)
        .join(runs, runs.c.id == versions.c.run_id)
        .where(versions.c.number.in_(numbers), runs.c.tier == "blocks")
    )
    heirs = select(versions.c.number).where(versions.c.backbone.in_(tuned))
    through_backbone = set(conn.scalars(heirs)) - numbers
    saw = [Saw(number, number in numbers) for number in numbers | through_backbone]
    return sorted(saw, key=lambda each: -each.version)


def near_duplicates(conn: Connection, example_id: int, limit: int) -> list[int]:
    """The other examples of its group."""
    group = select(examples.c.group_id).where(examples.c.id == example_id).scalar_subquery()
    others = (examples.c.group_id == group) & (examples.c.id != example_id)
    return list(
        conn.scalars(select(examples.c.id).where(others).order_by(examples.c.id).limit(limit))
    )


def to_json(conn: Connection, saw: Saw, policy: RetentionPolicy) -> dict[str, Any]:
    return {
        "version": saw.version,
        "by": "examples" if saw.by_examples else "backbone",
        "fate": _fate(conn, saw, policy),
    }


def _fate(conn: Connection, saw: Saw, policy: RetentionPolicy) -> str:
    if registry.get(conn, saw.version).retired_at is not None:
        return "retired-before"
    if policy.erased_versions == "never" or not saw.by_examples:
        return "kept"
    live, pending = promotions.newest_activation(conn), promotions.pending(conn)
    waits = saw.version in {each.version for each in (live, pending) if each is not None}
    if policy.erased_versions == "next-promotion" and live is not None:
        waits = waits or live.version in erased.versions(conn)
    return "retired-after-promotion" if waits else "retired"
