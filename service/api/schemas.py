"""The shapes of the answers, for OpenAPI and for the reader."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from core.errors import EvergreenError
from core.labelling.intake import IntakeResult
from core.predict import PredictionResult
from core.registry.promotions import Activation
from core.registry.versions import Version
from core.runs import Run
from core.shadows.answers import Tally
from core.shadows.outcomes import Score
from service.api import problems
from service.api.problems import Problem


def moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def moment_or_none(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else moment(seconds)


class Candidate(BaseModel):
    label: str
    confidence: float = Field(description="0 to 1, calibrated.")


class PredictionAnswer(BaseModel):
    prediction_id: str = Field(description="Send it back with a label to correct this answer.")
    version: int
    label: str
    confidence: float
    abstains: bool = Field(description="True: too unsure to be relied on; ask a person.")
    top: list[Candidate] = Field(description="The most likely classes, best first.")

    @staticmethod
    def of(answer: PredictionResult, top: int) -> PredictionAnswer:
        found = answer.prediction
        return PredictionAnswer(
            prediction_id=found.id,
            version=found.version,
            label=found.label,
            confidence=found.confidence,
            abstains=answer.abstains,
            top=[Candidate(label=c, confidence=p) for c, p in answer.best(top)],
        )


class ItemAnswer(BaseModel):
    """Of one image: its prediction, or why there is none."""

    prediction: PredictionAnswer | None
    problem: Problem | None


class PredictionList(BaseModel):
    items: list[ItemAnswer] = Field(description="In the order of the images; one version for all.")

    @staticmethod
    def of(found: list[PredictionResult | EvergreenError], top: int) -> PredictionList:
        return PredictionList(
            items=[
                ItemAnswer(prediction=None, problem=problems.to_problem(item))
                if isinstance(item, EvergreenError)
                else ItemAnswer(prediction=PredictionAnswer.of(item, top), problem=None)
                for item in found
            ]
        )


class FeedbackRequest(BaseModel, extra="forbid"):
    prediction_id: str = Field(max_length=36)
    # The length is checked with the other rules of a label, which say more than a schema can.
    label: str
    who: str = "anonymous"


class FeedbackAnswer(BaseModel):
    id: int = Field(description="DELETE /v1/feedback/{id} takes it back.")
    example_id: int
    label: str | None
    retracts: int | None = None
    who: str
    prediction_id: str | None
    created_at: datetime.datetime

    @staticmethod
    def of(taken: IntakeResult) -> FeedbackAnswer:
        event = taken.event
        return FeedbackAnswer(
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
        "head", description="head: seconds. blocks: fine-tunes the backbone too, minutes."
    )
    minutes: float | None = Field(
        None, gt=0, le=10_000, description="Time limit of tier blocks; the best by then is kept."
    )


class RunAnswer(BaseModel):
    id: str
    trigger: str = Field(description="request, labels, quiet or schedule.")
    tier: str
    state: str = Field(description="waiting, running, finished, failed or cancelled.")
    step: str
    progress: float = Field(description="0 to 1.")
    outcome: str | None = Field(description="promoted or held-back, once finished.")
    version: int | None
    reason: str | None
    error: str | None
    snapshot: int | None = Field(description="The newest label event that it saw.")
    parameters: dict[str, Any]
    attempts: int
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None

    @staticmethod
    def of(run: Run) -> RunAnswer:
        return RunAnswer(
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
    runs: list[RunAnswer]


class VersionAnswer(BaseModel):
    version: int
    is_champion: bool
    parent: int | None
    run_id: str | None
    classes: list[str]
    snapshot: int
    metrics: dict[str, Any]
    gate: dict[str, Any] = Field(description="What the gate decided, and why.")
    created_at: datetime.datetime

    @staticmethod
    def of(version: Version, champion: int | None) -> VersionAnswer:
        return VersionAnswer(
            version=version.number,
            is_champion=version.number == champion,
            parent=version.parent,
            run_id=version.run_id,
            classes=list(version.classes),
            snapshot=version.snapshot,
            metrics=version.metrics,
            gate=version.gate,
            created_at=moment(version.created_at),
        )


class ShadowScore(BaseModel):
    answers: int = Field(description="Silent answers, beside whichever champion.")
    agreement: float = Field(description="Share of them that agree with the champion's.")
    labelled: int = Field(description="Of them, images that a label came back for.")
    accuracy: float | None = Field(description="Share of these that it got right.")
    champion_accuracy: float | None = Field(description="Share that the champion got right.")

    @staticmethod
    def of(tally: Tally, score: Score) -> ShadowScore | None:
        if not tally.answers:
            return None
        labelled = score.labelled
        return ShadowScore(
            answers=tally.answers,
            agreement=tally.agreements / tally.answers,
            labelled=labelled,
            accuracy=score.shadow_right / labelled if labelled else None,
            champion_accuracy=score.champion_right / labelled if labelled else None,
        )


class VersionDetail(VersionAnswer):
    manifest: dict[str, Any]
    shadow: ShadowScore | None = Field(description="None if it never answered silently.")


class VersionList(BaseModel):
    versions: list[VersionAnswer]


class ChampionRequest(BaseModel, extra="forbid"):
    version: int
    who: str = Field("anonymous", max_length=100)
    why: str = Field("on request", max_length=1000)


class ChampionAnswer(BaseModel):
    version: int
    activation: int = Field(description="Its number, also the ETag for If-Match.")
    activated_at: datetime.datetime
    who: str
    why: str
    previous: int | None = Field(description="Where a rollback would go.")

    @staticmethod
    def of(activation: Activation, previous: int | None) -> ChampionAnswer:
        return ChampionAnswer(
            version=activation.version,
            activation=activation.id,
            activated_at=moment(activation.activate_at),
            who=activation.who,
            why=activation.why,
            previous=previous,
        )
