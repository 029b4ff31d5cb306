"""Reads the state of the installation, for `/v1/status` and for the stream of it."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from core import runs
from core.doctor import degraded
from core.doctor.degraded import Degraded
from core.errors import StoreError
from core.labelling import labels, lost_images
from core.labelling.census import describe_missing, read_census
from core.registry import promotions, workers
from core.registry.workers import Worker
from core.retention import storage
from core.retention.storage import Storage
from core.store.clock import MAX_OFFSET_S, Offset
from core.store.free_disk import FreeDisk
from core.store.store import Store
from service.api.schemas.bodies import RunResponse, moment, moment_or_none
from service.api.status.degraded import DegradedStatus
from service.api.status.schemas import (
    ClockStatus,
    DiskStatus,
    LabelStatus,
    LostImageStatus,
    Status,
    StorageStatus,
    StorageUse,
    WorkerStatus,
)
from service.inference.serving_process import ServingProcess

_MOST_NAMED = 10


class _State(NamedTuple):
    """What `/v1/status` reads of the database."""

    workers: list[WorkerStatus]
    trainers: int | None
    promotion_waiting: int | None
    storage: StorageStatus | None
    labels: LabelStatus | None
    lost_images: LostImageStatus | None
    runs: list[RunResponse]
    last_run: RunResponse | None


def read_status(serving: ServingProcess) -> Status:
    """Takes seconds at most, whatever the database does. Call it in a thread."""
    known: list[Degraded] | None = None
    state = _State([], None, None, None, None, None, [], None)
    with contextlib.suppress(StoreError):  # the log of the swap says what is wrong
        state, known = serving.health.read(partial(_read, serving.store, serving.store.db.clock()))
    current = serving.slot.current()
    return Status(
        version=current.version,
        input=serving.store.kind.name,
        classes=len(current.manifest.classes),
        answered_by=os.getpid(),
        max_batch=serving.settings.max_batch if serving.is_batching else None,
        started_at=moment(serving.started_at),
        degraded=[DegradedStatus.from_record(each) for each in serving.health.degraded(known)],
        clock=_clock(serving.store.db.clock.offset),
        disk=_disk(serving.store.disk),
        **state._asdict(),
    )


def _clock(offset: Offset) -> ClockStatus:
    problem = (
        f"this machine's clock is {offset.seconds:+.1f} s from the database's, and the limit is "
        f"{MAX_OFFSET_S} s; synchronise it (NTP)"
    )
    return ClockStatus(
        offset_seconds=round(offset.seconds, 3), problem=problem if offset.is_problem else None
    )


def _read(store: Store, now: float) -> tuple[_State, list[Degraded]]:
    with store.db.read() as conn:
        waiting = promotions.pending(conn)
        num_waiting, oldest, _ = labels.count_after(conn, runs.newest_snapshot(conn))
        census = read_census(conn)
        last = runs.last_of(conn)
        state = _State(
            workers=[_worker(worker) for worker in workers.live(conn, now, "serving")],
            trainers=len(workers.live(conn, now, "trainer")),
            promotion_waiting=waiting.version if waiting else None,
            storage=_storage(storage.read(conn), store.disk.measure()),
            labels=LabelStatus(
                waiting=num_waiting,
                oldest_waiting=moment_or_none(oldest),
                examples=census.num_trained,
                held_out=census.num_held_out,
                missing=None if census.is_enough else describe_missing(census),
            ),
            lost_images=_lost_images(conn),
            runs=[RunResponse.from_record(run) for run in runs.unfinished(conn)],
            last_run=RunResponse.from_record(last) if last else None,
        )
        return state, degraded.read(conn, now)


def _worker(worker: Worker) -> WorkerStatus:
    return WorkerStatus(
        host=worker.host,
        pid=worker.pid,
        version=worker.version,
        ready=list(worker.ready),
        problems=list(worker.failed.values()),
        provider=worker.provider,
        last_seen=moment(worker.last_seen),
    )


def _lost_images(conn: Connection) -> LostImageStatus:
    count, _ = lost_images.count(conn)
    named = lost_images.listing(conn, limit=_MOST_NAMED) if count else []
    return LostImageStatus(count=count, examples=[lost.example_id for lost in named])


def _disk(disk: FreeDisk) -> DiskStatus | None:
    free = disk.measure()
    if free is None:
        return None
    return DiskStatus(
        free_bytes=free, min_free_bytes=disk.min_bytes, keeps_images=free >= disk.min_bytes
    )


def _storage(used: Storage, free_bytes: int | None) -> StorageStatus:
    return StorageStatus(
        measured_at=moment_or_none(used.measured_at),
        kinds={use.kind: StorageUse(bytes=use.num_bytes, items=use.num_items) for use in used.uses},
        growth_bytes_per_day=used.growth_per_day,
        days_until_full=used.days_until_full(free_bytes),
    )
