"""The bodies of responses that describe versions; OpenAPI is made from them."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import BaseModel, Field

from core.registry.versions import Version
from core.shadows.answers import Tally
from core.shadows.outcomes import Score
from service.api.schemas.bodies import moment, moment_or_none


class VersionResponse(BaseModel):
    version: int
    is_champion: bool
    parent: int | None
    run_id: str | None
    classes: list[str]
    snapshot: int
    metrics: dict[str, Any]
    gate: dict[str, Any] = Field(description="The decision of the gate, and the reasons.")
    created_at: datetime.datetime
    lost_files: dict[str, str] = Field(
        description="Its files that are missing or damaged in the blob store, by name. It cannot "
        "be loaded until they are restored."
    )
    retired_at: datetime.datetime | None = Field(
        description="Since when its files may be gone, so that it cannot be promoted; null: never."
    )

    @staticmethod
    def from_record(
        version: Version, champion: int | None, lost_files: dict[str, str] | None = None
    ) -> VersionResponse:
        return VersionResponse(
            version=version.number,
            is_champion=version.number == champion,
            parent=version.parent,
            run_id=version.run_id,
            classes=list(version.classes),
            snapshot=version.snapshot,
            metrics=version.metrics,
            gate=version.gate,
            created_at=moment(version.created_at),
            lost_files=lost_files or {},
            retired_at=moment_or_none(version.retired_at),
        )


class ShadowScore(BaseModel):
    answers: int = Field(description="Shadow predictions, during any champion.")
    agreement: float = Field(description="Share of them that agree with the champion.")
    labelled: int = Field(
        description="How many of the last 1,000 labels are of inputs that it predicted."
    )
    accuracy: float | None = Field(
        description="Share of the labelled ones that this version got right."
    )
    champion_accuracy: float | None = Field(
        description="Share of the labelled ones that the champion got right."
    )

    @staticmethod
    def from_record(tally: Tally, score: Score) -> ShadowScore | None:
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


class VersionDetail(VersionResponse):
    manifest: dict[str, Any] | None = Field(
        description="null if it is lost, or the version retired."
    )
    signed: bool = Field(
        description="Whether the key of this server signed the manifest, for this version."
    )
    shadow: ShadowScore | None = Field(description="null if it was never a shadow.")


class VersionList(BaseModel):
    versions: list[VersionResponse]
