"""The body of `/v1/status`."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, Field

from core.inputs import kinds
from service.api.schemas.bodies import RunResponse
from service.api.status.degraded import DegradedStatus


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
    min_free_bytes: int = Field(description="Below it, inputs of predictions are not kept.")
    keeps_images: bool = Field(
        description="Whether inputs of predictions are kept, so that they can be labelled by id."
    )


class ClockStatus(BaseModel):
    offset_seconds: float = Field(
        description="How far the clock of the machine that responds is ahead of the database's."
    )
    problem: str | None = Field(description="What is wrong with it; null: nothing.")


class LostImageStatus(BaseModel):
    count: int = Field(description="Labelled inputs that are missing or damaged.")
    examples: list[int] = Field(description="The first few; GET /v1/lost-images lists them all.")


class StorageUse(BaseModel):
    bytes: int
    items: int


class StorageStatus(BaseModel):
    measured_at: datetime.datetime | None = Field(
        description="When the last sweep counted; null: none has yet."
    )
    kinds: dict[str, StorageUse] = Field(
        description="`labelled-images`, `other-images` of predictions, `versions`, `analyses` "
        "of them, `database`, `cache` of the trainer's machine, and `to-delete`."
    )
    growth_bytes_per_day: float | None = Field(
        description="Over the last days; null before a day has passed."
    )
    days_until_full: float | None = Field(
        description="Free disk below the blob folder over the growth; null: unknown, or no growth."
    )


class Status(BaseModel):
    version: int
    input: str = Field(
        description="What this home classifies, for good.",
        json_schema_extra={"enum": list(kinds.NAMES)},
    )
    classes: int
    answered_by: int = Field(description="The process that served this request.")
    max_batch: int | None = Field(
        description="Most inputs in a batch of this process; null: batching is off."
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
