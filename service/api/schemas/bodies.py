"""The bodies of requests and responses; OpenAPI is made from them.

Each further subject has a module of its own beside this one.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from core import ids
from core.class_names import MAX_LABEL_CHARACTERS
from core.labelling.intake import IntakeResult
from core.plain_text import MAX_WHO_CHARACTERS
from core.registry.promotions import Activation
from core.runs import Run

WHO = "The author. With a key it is the name of the key, and cannot be given."


def moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def moment_or_none(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else moment(seconds)


def _plain(value: Any) -> Any:
    """Pydantic takes true for 1, and the text 1_0 for 10."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    if isinstance(value, str) and "_" in value:
        raise ValueError("a number has no underscores")
    return value


# Numbers of a request, which may come as text.
PlainNumber = BeforeValidator(_plain)
WholeNumber = Annotated[int, PlainNumber]
# How many of a list. Its bounds come first, or the contract would lack them.
Limit = Annotated[int, Field(ge=1, le=1000), PlainNumber]
# An id in any spelling of a UUID: capitals, braces, without hyphens.
AnyUuid = BeforeValidator(ids.canonical)


class Authored(BaseModel, extra="forbid"):
    who: str | None = Field(
        None, description=WHO, json_schema_extra={"maxLength": MAX_WHO_CHARACTERS}
    )


class LabelOfOne(BaseModel, extra="forbid"):
    """A label, and what it is for: one of the two ids, or the text itself."""

    prediction_id: Annotated[str, Field(max_length=36), AnyUuid] | None = None
    example_id: Annotated[int, Field(ge=1, lt=2**63), PlainNumber] | None = None
    text: str | None = Field(None, description="The text itself, where the home has texts.")
    # `core.labelling` checks their lengths, with the other rules of a label.
    label: str = Field(json_schema_extra={"minLength": 1, "maxLength": MAX_LABEL_CHARACTERS})

    @model_validator(mode="after")
    def _check_one_id(self) -> Self:
        named = (self.prediction_id, self.example_id, self.text)
        if sum(each is not None for each in named) != 1:
            raise ValueError("send either prediction_id or example_id, or a text itself")
        return self


class FeedbackRequest(LabelOfOne, Authored):
    pass


class FeedbackResponse(BaseModel):
    id: int = Field(description="DELETE /v1/feedback/{id} retracts it.")
    example_id: int
    label: str | None = Field(
        description="As stored: the first spelling of the class. Null for a retraction."
    )
    retracts: int | None = None
    who: str
    prediction_id: str | None
    created_at: datetime.datetime

    @staticmethod
    def from_record(intake: IntakeResult) -> FeedbackResponse:
        event = intake.event
        return FeedbackResponse(
            id=event.id,
            example_id=event.example_id,
            label=event.label,
            retracts=event.retracts,
            who=event.who,
            prediction_id=event.prediction_id,
            created_at=moment(event.created_at),
        )


class RetrainRequest(BaseModel, extra="forbid"):
    tier: Literal["head", "blocks"] = Field(
        "head",
        description="head takes seconds. blocks also fine-tunes the backbone, which takes minutes.",
    )
    minutes: Annotated[float | None, PlainNumber] = Field(
        None,
        gt=0,
        le=10_000,
        description="Time limit of tier blocks; the best weights so far are kept.",
    )


class RunResponse(BaseModel):
    id: str
    trigger: str = Field(description="request, labels, quiet, schedule or erasure.")
    tier: str
    state: str = Field(description="waiting, running, finished, failed or cancelled.")
    step: str
    progress: float = Field(description="0 to 1.")
    outcome: str | None = Field(description="promoted or held-back, once finished.")
    version: int | None
    reason: str | None
    error: str | None
    snapshot: int | None = Field(description="The newest label event that it trains on.")
    parameters: dict[str, Any]
    attempts: int
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None

    @staticmethod
    def from_record(run: Run) -> RunResponse:
        return RunResponse(
            id=run.id,
            trigger=run.trigger,
            tier=run.tier,
            state=run.state,
            step=run.step,
            progress=run.progress,
            outcome=run.outcome,
            version=run.version,
            reason=run.reason,
            error=run.error,
            snapshot=run.snapshot,
            parameters=run.parameters,
            attempts=run.attempts,
            created_at=moment(run.created_at),
            started_at=moment_or_none(run.started_at),
            finished_at=moment_or_none(run.finished_at),
        )


class RunList(BaseModel):
    runs: list[RunResponse]


class ChampionRequest(BaseModel, extra="forbid"):
    version: WholeNumber
    who: str | None = Field(None, max_length=100, description=WHO)
    why: str = Field("on request", max_length=1000)


class ChampionResponse(BaseModel):
    version: int
    activation: int = Field(description="The number of its activation, also the ETag for If-Match.")
    activated_at: datetime.datetime
    who: str
    why: str
    previous: int | None = Field(description="The version that a rollback would restore.")

    @staticmethod
    def from_record(activation: Activation, previous: int | None) -> ChampionResponse:
        return ChampionResponse(
            version=activation.version,
            activation=activation.id,
            activated_at=moment(activation.activate_at),
            who=activation.who,
            why=activation.why,
            previous=previous,
        )
