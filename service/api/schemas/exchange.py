"""The bodies of responses about imports; OpenAPI is made from them."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, Field

from core.exchange.importing.jobs import Import
from core.exchange.importing.report import MAX_PROBLEMS, Report
from service.api.schemas.bodies import moment, moment_or_none


class ImportProblem(BaseModel):
    file: str
    what: str = Field(examples=["not a readable image"])


class ImportResponse(BaseModel):
    id: str
    state: str = Field(description="waiting, running, finished, failed or cancelled.")
    name: str
    num_bytes: int
    position: int = Field(description="How many of its files are done.")
    total: int | None = Field(description="Its files; null: it has not been looked into.")
    counts: dict[str, int] = Field(
        description="What became of its files: each is in one of the counts added, already, "
        "relabelled, kept corrections, duplicates, conflicts, unreadable and ignored."
    )
    problems: list[ImportProblem] = Field(
        description=f"Files that were not imported as they are: the first {MAX_PROBLEMS:,}."
    )
    problems_total: int
    batch_id: int | None = Field(description="Its labels, which can be undone as one.")
    created_at: datetime.datetime
    finished_at: datetime.datetime | None
    error: str | None

    @staticmethod
    def from_record(record: Import, max_problems: int = MAX_PROBLEMS) -> ImportResponse:
        report = Report.from_json(record.report).to_json()
        problems = [
            ImportProblem(file=path, what=what) for path, what in report["problems"][:max_problems]
        ]
        return ImportResponse(
            id=record.id,
            state=record.state,
            name=record.name,
            num_bytes=record.num_bytes,
            position=record.position,
            total=record.total,
            counts=report["counts"],
            problems=problems,
            problems_total=report["problems_total"],
            batch_id=record.batch_id,
            created_at=moment(record.created_at),
            finished_at=moment_or_none(record.finished_at),
            error=record.error,
        )


class ImportList(BaseModel):
    imports: list[ImportResponse] = Field(
        description="Newest first, each with its first 10 problems."
    )
    next_before: str | None = Field(
        description="Send it as `before` for the next ones; null: there are none."
    )
