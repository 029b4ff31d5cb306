"""What is degraded: what does not work as it should while predictions go on, and since when.

This reads what the database tells of the whole installation. A serving process adds what only it
knows (`service/inference/health.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from core.labelling import lost_images
from core.registry import activations, promotions, version_files, versions, workers
from core.registry.workers import DEAD_AFTER_S, Worker
from core.store import lost_blobs
from core.store.free_disk import FreeDisk

#: Everything that can be degraded.
NAMES = (
    "capture",
    "database",
    "disk",
    "lost-images",
    "lost-versions",
    "spool",
    "store",
    "swap",
    "trainer",
)
# A server starts its trainer, and a swap takes its time.
_TRAINER_WITHIN_S = 30.0
_SWAP_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Degraded:
    # One of NAMES.
    what: str
    # Unix time.
    since: float
    reason: str
    # What to do about it.
    remedy: str


def read(conn: Connection, now: float) -> list[Degraded]:
    """What the database tells, of all processes."""
    serving = workers.live(conn, now, "serving")
    found = [
        *_lost_images(conn),
        *_lost_versions(conn),
        *_swap(conn, serving, now),
        *_trainer(conn, serving, now),
    ]
    return sorted(found, key=lambda each: each.what)


def of_disk(disk: FreeDisk) -> Iterator[Degraded]:
    if not disk.has_room and disk.low_since is not None:
        yield Degraded(
            "disk",
            disk.low_since,
            "less disk is free than EVERGREEN_MIN_FREE_DISK_MB: what predictions get is not kept",
            "free some disk",
        )


def _lost_images(conn: Connection) -> Iterator[Degraded]:
    number, since = lost_images.count(conn)
    if number and since is not None:
        yield Degraded(
            "lost-images",
            since,
            f"{number:,} labelled examples are missing or damaged, and runs leave them out",
            "restore them from a backup, label the same inputs again, or erase them: "
            "GET /v1/lost-images lists them",
        )


def _lost_versions(conn: Connection) -> Iterator[Degraded]:
    """The champion and the version that a rollback returns to must be loadable."""
    live = promotions.newest_activation(conn)
    if live is None:
        return
    numbers = [live.version, *activations.versions_before(conn, 1)]
    lost = version_files.recorded_lost(conn, (versions.get(conn, number) for number in numbers))
    blobs = lost_blobs.read(conn) if lost else {}
    for number, files in lost.items():
        digests = version_files.digests_of(versions.get(conn, number))
        since = min(blobs[digests[name]].found_at for name in files)
        role = "the champion" if number == live.version else "the version before the champion"
        consequence = (
            "it serves from memory, and a process that starts serves an older one"
            if number == live.version
            else "a rollback skips it"
        )
        yield Degraded(
            "lost-versions",
            since,
            f"version {number}, {role}, lacks {', '.join(files)}: {consequence}",
            "restore the blob store from a backup, run `evergreen doctor --repair`, or promote "
            "another version",
        )


def _swap(conn: Connection, serving: list[Worker], now: float) -> Iterator[Degraded]:
    pending = promotions.pending(conn)
    if pending is not None and now - pending.created_at > _SWAP_WITHIN_S:
        late = [worker for worker in serving if pending.version not in worker.ready]
        yield Degraded(
            "swap",
            pending.created_at,
            f"version {pending.version} waits for {len(late)} of {len(serving)} workers to load it",
            "wait, or read `problems` of the workers; a promotion fails by itself after "
            "EVERGREEN_LOAD_WITHIN_S",
        )
        return
    live = promotions.newest_activation(conn)
    if live is None:
        return
    since = activations.effective_from(live.activate_at, now)
    behind = [worker for worker in serving if worker.version != live.version]
    if behind and now - since > _SWAP_WITHIN_S:
        began = max(since, max(worker.started_at for worker in behind))
        yield Degraded(
            "swap",
            began,
            f"{len(behind)} of {len(serving)} workers serve another version than the champion, "
            f"version {live.version}",
            "read `problems` of the workers and version.load_failed in the log; mend the cause, "
            "or roll back",
        )


def _trainer(conn: Connection, serving: list[Worker], now: float) -> Iterator[Degraded]:
    """No trainer lives although servers do. The last one may have left a heartbeat."""
    if not serving or workers.live(conn, now, "trainer"):
        return
    last_seen = workers.last_seen(conn, "trainer")
    since = max(min(worker.started_at for worker in serving), last_seen or 0.0)
    if now - since > _TRAINER_WITHIN_S + DEAD_AFTER_S:
        yield Degraded(
            "trainer",
            since,
            "no trainer is alive: labels are kept, and nothing is learned",
            "read trainer.died in the log; with EVERGREEN_RUN_TRAINER=false, start "
            "`evergreen worker`",
        )
