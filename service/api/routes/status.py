"""GET /v1/status: the state of the installation."""

from __future__ import annotations

import datetime
import os
import time

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from core import runs
from core.labelling import labels
from core.labelling.census import describe_missing, read_census
from core.registry import promotions, workers
from core.retention import storage
from core.retention.storage import Storage
from core.store.free_disk import FreeDisk
from service import metrics
from service.api.dependencies import ServingDep
from service.api.schemas import RunResponse, moment, moment_or_none

router = APIRouter(tags=["status"])


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
    workers: list[WorkerStatus]
    trainers: int = Field(description="Live trainers. Without one, no run starts.")
    promotion_waiting: int | None = Field(description="A version that the workers are loading.")
    disk: DiskStatus | None = Field(
        description="Below the blob folder; null if the blobs are in a remote store."
    )
    storage: StorageStatus
    labels: LabelStatus
    runs: list[RunResponse] = Field(description="The runs that are waiting or running.")
    last_run: RunResponse | None


@router.get("/v1/status", response_model=Status)
def status(serving: ServingDep) -> Status:
    now = time.time()
    with serving.store.db.read() as conn:
        live = workers.live(conn, now, "serving")
        trainers = workers.live(conn, now, "trainer")
        waiting = promotions.pending(conn)
        num_waiting, oldest, _ = labels.count_after(conn, runs.newest_snapshot(conn))
        census = read_census(conn)
        unfinished = runs.unfinished(conn)
        last = runs.last_of(conn)
        used = storage.read(conn)
    current = serving.slot.current()
    return Status(
        version=current.version,
        classes=len(current.manifest.classes),
        answered_by=os.getpid(),
        max_batch=serving.settings.max_batch if serving.is_batching else None,
        started_at=moment(serving.started_at),
        workers=[
            WorkerStatus(
                host=w.host,
                pid=w.pid,
                version=w.version,
                ready=list(w.ready),
                problems=list(w.failed.values()),
                provider=w.provider,
                last_seen=moment(w.last_seen),
            )
            for w in live
        ],
        trainers=len(trainers),
        promotion_waiting=waiting.version if waiting else None,
        disk=_disk(serving.store.disk),
        storage=_storage(used, serving.store.disk.measure()),
        labels=LabelStatus(
            waiting=num_waiting,
            oldest_waiting=moment_or_none(oldest),
            examples=census.num_trained,
            held_out=census.num_held_out,
            missing=None if census.is_enough else describe_missing(census),
        ),
        runs=[RunResponse.from_record(run) for run in unfinished],
        last_run=RunResponse.from_record(last) if last else None,
    )


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
        metrics.render(serving.store, serving.spool.depth()), media_type=CONTENT_TYPE_LATEST
    )
