"""Claims: which import a process works on next, and which will never be worked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, text, update

from core.exchange.importing import jobs
from core.exchange.importing.jobs import Import
from core.store.database import Database
from core.store.tables.review import imports

_CLAIM_LOCK = 7_140_227
# A machine that was not heard of for so long is gone, with the archives that it took.
GONE_AFTER_S = 600.0
# So often a machine says that it still has those that wait.
_RENEW_EVERY_S = 60.0
# A process may die of something else than the image that it works on.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Claims:
    db: Database
    owner: str
    host: str
    # Whether this machine has the archive of an import.
    has_file: Callable[[str], bool]

    def next(self, now: float) -> Import | None:
        """Claim an import whose process died, or else the oldest that waits. None: there is none,
        or another process of this machine works on one. Raises StoreError."""
        with self.db.read() as conn:
            if not self._is_anything_to_do(jobs.unfinished(conn), now):
                return None
        with self.db.write(durable=False) as conn:
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _CLAIM_LOCK})
            found = jobs.unfinished(conn)
            ours = [each for each in found if self._is_ours(each)]
            for each in found:
                if each not in ours:
                    self._give_up_if_gone(conn, each, now)
            self._renew(conn, ours, now)
            return self._claim(conn, ours, now)

    def _is_anything_to_do(self, found: list[Import], now: float) -> bool:
        ours = [each for each in found if self._is_ours(each)]
        others = [each for each in found if each not in ours]
        is_free = not any(self._is_held_by_another(each, now) for each in ours)
        is_due = any(_age(each, now) > _RENEW_EVERY_S for each in ours)
        return (bool(ours) and is_free) or is_due or any(_is_gone(each, now) for each in others)

    def _is_ours(self, each: Import) -> bool:
        """By the file, too: a container may come back under another name."""
        return each.host == self.host or self.has_file(each.id)

    def _is_held_by_another(self, each: Import, now: float) -> bool:
        return each.is_held(now) and each.owner != self.owner

    def _renew(self, conn: Connection, ours: list[Import], now: float) -> None:
        for each in ours:
            if each.state == "waiting" and _age(each, now) > _RENEW_EVERY_S:
                is_it = (imports.c.id == each.id) & (imports.c.state == "waiting")
                conn.execute(update(imports).where(is_it).values(heartbeat_at=now))

    def _give_up_if_gone(self, conn: Connection, each: Import, now: float) -> None:
        if _is_gone(each, now):
            minutes = GONE_AFTER_S / 60
            _fail(
                conn,
                each,
                f"the machine that has the archive, {each.host}, was not heard of for {minutes:g} "
                "minutes; send it again, and what is imported already is skipped",
                now,
            )

    def _claim(self, conn: Connection, ours: list[Import], now: float) -> Import | None:
        if any(self._is_held_by_another(each, now) for each in ours):
            return None
        for each in sorted(ours, key=lambda each: each.state):  # those that run come first
            if each.is_cancel_requested:
                _end(conn, each, "cancelled", None, now)
            elif not self.has_file(each.id):
                _fail(conn, each, "its archive is gone from the disk; send it again", now)
            elif claimed := self._take(conn, each, now):
                return claimed
        return None

    def _take(self, conn: Connection, each: Import, now: float) -> Import | None:
        report = dict(each.report)
        if each.state == "running" and each.owner != self.owner:
            place, number = report.get("attempts", (-1, 0))
            number = number + 1 if place == each.position else 1
            report["attempts"] = [each.position, number]
            if number >= MAX_ATTEMPTS:
                _fail(
                    conn,
                    each,
                    f"its process stopped {number} times after {each.position:,} files; what came "
                    "before is imported",
                    now,
                )
                return None
        conn.execute(
            update(imports)
            .where(_as_read(each))
            .values(state="running", owner=self.owner, heartbeat_at=now, report=report)
        )
        return jobs.get(conn, each.id)


def _as_read(each: Import) -> ColumnElement[bool]:
    return (imports.c.id == each.id) & (imports.c.state == each.state)


def _age(each: Import, now: float) -> float:
    return abs(now - (each.heartbeat_at or each.created_at))


def _is_gone(each: Import, now: float) -> bool:
    return _age(each, now) > GONE_AFTER_S


def _fail(conn: Connection, each: Import, error: str, now: float) -> None:
    _end(conn, each, "failed", error, now)


def _end(conn: Connection, each: Import, state: str, error: str | None, now: float) -> None:
    values = {"state": state, "error": error, "finished_at": now, "owner": None}
    conn.execute(update(imports).where(_as_read(each)).values(values))
