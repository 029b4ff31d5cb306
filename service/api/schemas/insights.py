"""The bodies of responses about the examples as a whole: the map and the learning curve."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from core.review.insights import ExampleMap
from service.api.schemas.bodies import moment_or_none

_INTERVAL = "At 95 %."


class MapResponse(BaseModel):
    """The columns of a table, whose rows are examples."""

    version: int | None = Field(description="That embedded them; null: none is analysed yet.")
    ids: list[int] = Field(description="Of the examples.")
    x: list[float] = Field(description="-1 to 1. Neighbours are alike; the axes mean nothing.")
    y: list[float] = Field(description="-1 to 1.")
    labels: list[int] = Field(description="Indexes `names`: the label when it was analysed.")
    names: list[str]
    predicted: list[int] = Field(description="Indexes `names`; -1: not scored.")
    held_out: list[bool] = Field(description="Whether it judges and is never trained on.")
    total: int = Field(description="How many examples were analysed; a sample of them is here.")

    @staticmethod
    def from_record(version: int | None, found: ExampleMap, total: int) -> MapResponse:
        return MapResponse(
            version=version,
            ids=found.ids,
            x=found.x,
            y=found.y,
            labels=found.labels,
            names=list(found.names),
            predicted=found.predicted,
            held_out=found.held_out,
            total=total,
        )


class CurvePoint(BaseModel):
    labels: int = Field(description="Labelled inputs of all classes, held-out ones too.")
    accuracy: float = Field(description="0 to 1.")
    interval: tuple[float, float] = Field(description=_INTERVAL)


class CurveClass(BaseModel):
    name: str
    examples: int
    accuracy: float | None = Field(description="Null: it has too few examples to be learnt.")
    interval: tuple[float, float] | None = Field(description=_INTERVAL)
    gain_expected: float | None = Field(
        description="Of its accuracy, with as many more labels as a class has on average."
    )


class LearningCurveResponse(BaseModel):
    version: int | None = Field(description="Whose labels and backbone it was measured with.")
    computed_at: datetime.datetime | None
    points: list[CurvePoint] = Field(description="Measured, by rising number of labels.")
    forecast: list[CurvePoint] = Field(
        description="Expected with twice and four times the labels. Empty: too early to say."
    )
    verdict: Literal["worth it", "levelling off", "too early"] = Field(
        description="Whether more labels are worth it."
    )
    text: str = Field(description="The verdict as a sentence.")
    classes: list[CurveClass] = Field(description="First those that more labels help most.")

    @staticmethod
    def from_record(curve: dict[str, Any]) -> LearningCurveResponse:
        fields = {name: curve[name] for name in LearningCurveResponse.model_fields}
        fields["computed_at"] = moment_or_none(curve["computed_at"])
        return LearningCurveResponse.model_validate(fields)
