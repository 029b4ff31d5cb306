"""GET /v1/status: the state of the installation."""

from __future__ import annotations

import contextlib
import datetime
import os
from functools import partial
from typing import NamedTuple

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from core import degraded, runs
from core.degraded import Degraded
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
from service import metrics
from service.api.degraded_schema import DegradedStatus
from service.api.dependencies import ServingDep
from service.api.schemas import RunResponse, moment, moment_or_none

router = APIRouter(tags=["status"])

_MOST_NAMED = 10


class WorkerStatus(BaseModel):
    host: str
    pid: int
    version: int | None
    ready: list[int] = Field(description="Versions that it has loaded.")
    problems: list[str] = Field(description="Versions that it could not load, and the reasons.")
    provider: str = Field(description="The provider of onnxruntime that runs its models.")
    last_seen: datetime.datetime


class LabelStatus(BaseModel):
    waiting: int = Field(description="Label events that no finished run has trained on.")
    oldest_waiting: datetime.datetime | None
    examples: dict[str, int] = Field(description="Examples to train on, by class.")
    held_out: int = Field(description="Examples kept apart to evaluate versions.")
    missing: str | None = Field(
        description="What is missing before a run can start; null: nothing."
    )


class DiskStatus(BaseModel):
    free_bytes: int = Field(description="Now.")
    min_free_bytes: int = Field(description="Below it, images of predictions are not kept.")
    keeps_images: bool = Field(
        description="Whether images of predictions are kept, so that they can be labelled by id."
    )


class ClockStatus(BaseModel):
    offset_seconds: float = Field(
        description="How far the clock of the machine that responds is ahead of the database's."
    )
    problem: str | None = Field(description="What is wrong with it; null: nothing.")


class LostImageStatus(BaseModel):
    count: int = Field(description="Labelled images that are missing or damaged.")
    examples: list[int] = Field(description="The first few; GET /v1/lost-images lists them all.")


class StorageUse(BaseModel):
    bytes: int
    items: int


class StorageStatus(BaseModel):
    measured_at: datetime.datetime | None = Field(
        description="When the last sweep counted; null: none has yet."
    )
    kinds: dict[str, StorageUse] = Field(
        description="`labelled-images`, `other-images` of predictions, `versions`, `database`, "
        "`cache` of the trainer's machine, and `to-delete`."
    )
    growth_bytes_per_day: float | None = Field(
        description="Over the last days; null before a day has passed."
    )
    days_until_full: float | None = Field(
        description="Free disk below the blob folder over the growth; null: unknown, or no growth."
    )


class Status(BaseModel):
    version: int
    classes: int
    answered_by: int = Field(description="The process that served this request.")
    max_batch: int | None = Field(
        description="Most images in a batch of this process; null: batching is off."
    )
    started_at: datetime.datetime
    degraded: list[DegradedStatus] = Field(
        description="What does not work as it should, of this process and of the installation. "
        "Predictions go on."
    )
    workers: list[WorkerStatus]
    trainers: int | None = Field(
        description="Live trainers. Without one, no run starts. Null: the database does not answer."
    )
    promotion_waiting: int | None = Field(description="A version that the workers are loading.")
    clock: ClockStatus
    disk: DiskStatus | None = Field(
        description="Below the blob folder; null if the blobs are in a remote store."
    )
    storage: StorageStatus | None = Field(description="Null: the database does not answer.")
    labels: LabelStatus | None = Field(description="Null: the database does not answer.")
    lost_images: LostImageStatus | None = Field(description="Null: the database does not answer.")
    runs: list[RunResponse] = Field(description="The runs that are waiting or running.")
    last_run: RunResponse | None


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


@router.get("/v1/status", response_model=Status)
def status(serving: ServingDep) -> Status:
    """Return the state of the installation.

    It answers within seconds, whatever the database does. Without it, what is read there is null
    or empty, and `degraded` names it.
    """
    known: list[Degraded] | None = None
    state = _State([], None, None, None, None, None, [], None)
    with contextlib.suppress(StoreError):  # the log of the swap says what is wrong
        state, known = serving.health.read(partial(_read, serving.store, serving.store.db.clock()))
    current = serving.slot.current()
    return Status(
        version=current.version,
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


@router.get("/metrics", response_class=Response, include_in_schema=False)
def scrape(serving: ServingDep) -> Response:
    return Response(
        metrics.render(serving.store, serving.spool.depth(), serving.health),
        media_type=CONTENT_TYPE_LATEST,
    )
