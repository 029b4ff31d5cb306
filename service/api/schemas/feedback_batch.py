"""The bodies of `/v1/feedback/batch`; OpenAPI is made from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from core.labelling.bulk.targets import MAX_LABELS
from core.labelling.bulk.write import BulkResult, BulkResults
from service.api.schemas.bodies import Authored, LabelOfOne


class BulkLabelRequest(LabelOfOne):
    label: str = Field(description="What cannot be a label is refused alone.")


class FeedbackBatchRequest(Authored):
    labels: list[BulkLabelRequest] = Field(
        min_length=1,
        max_length=MAX_LABELS,
        description="Each with one of the two ids, or with a text.",
    )


class LabelProblem(BaseModel):
    code: str
    detail: str


class BulkLabelResponse(BaseModel):
    status: Literal["stored", "already", "refused"] = Field(
        description="already: it is the current label of the example, by the same author."
    )
    feedback_id: int | None = Field(description="DELETE /v1/feedback/{id} retracts it.")
    example_id: int | None
    problem: LabelProblem | None = Field(description="Why it was refused.")

    @staticmethod
    def from_record(result: BulkResult) -> BulkLabelResponse:
        error = result.error
        return BulkLabelResponse(
            status=result.status,
            feedback_id=result.event_id,
            example_id=result.example_id,
            problem=None if error is None else LabelProblem(code=error.code, detail=str(error)),
        )


class FeedbackBatchResponse(BaseModel):
    batch_id: int | None = Field(
        description="DELETE /v1/batches/{id} undoes the batch. Null: nothing was stored."
    )
    results: list[BulkLabelResponse] = Field(description="In the order of the labels.")

    @staticmethod
    def from_record(stored: BulkResults) -> FeedbackBatchResponse:
        return FeedbackBatchResponse(
            batch_id=stored.batch_id,
            results=[BulkLabelResponse.from_record(result) for result in stored.results],
        )
