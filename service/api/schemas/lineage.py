"""The bodies of responses that say where predictions come from; OpenAPI is made from them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from core.labelling.labels import CurrentLabel, LabelEvent
from core.models.manifest import Manifest
from core.registry.versions import Version
from core.review.items import ExampleItem, Found
from core.review.lineage import ExampleRecord, PredictionOrigin, Sight
from core.runs import Run
from service.api.schemas.bodies import RunResponse, moment, moment_or_none
from service.api.schemas.review import (
    ANALYSIS,
    DIGEST,
    EXCERPT,
    LABEL_PROBABILITY,
    PREDICTED,
    UNFAMILIAR,
    AnalysisOf,
    Excerpts,
)


class LabelEventResponse(BaseModel):
    id: int
    label: str | None = Field(description="Null for a retraction.")
    retracts: int | None
    who: str
    prediction_id: str | None
    created_at: datetime.datetime

    @staticmethod
    def from_record(event: LabelEvent) -> LabelEventResponse:
        return LabelEventResponse(
            id=event.id,
            label=event.label,
            retracts=event.retracts,
            who=event.who,
            prediction_id=event.prediction_id,
            created_at=moment(event.created_at),
        )


class VersionOrigin(BaseModel):
    """What a version was made of."""

    version: int
    parent: int | None
    snapshot: int = Field(description="The newest label event that it was trained on.")
    backbone: str = Field(description="SHA-256 of its backbone.onnx.")
    head: str = Field(description="SHA-256 of its head.onnx.")
    retired_at: datetime.datetime | None = Field(description="Since when its files may be gone.")
    tier: str | None = Field(description="As `code_revision` and `libraries` null without files.")
    code_revision: str | None = Field(
        description="The commit that trained it; empty for a package."
    )
    libraries: dict[str, str] | None

    @staticmethod
    def from_record(version: Version, manifest: Manifest | None) -> VersionOrigin:
        return VersionOrigin(
            version=version.number,
            parent=version.parent,
            snapshot=version.snapshot,
            backbone=version.backbone,
            head=version.head,
            retired_at=moment_or_none(version.retired_at),
            tier=None if manifest is None else manifest.tier,
            code_revision=None if manifest is None else manifest.code_revision,
            libraries=None if manifest is None else manifest.libraries,
        )


class PredictionDetail(BaseModel):
    prediction_id: str
    label: str
    confidence: float
    margin: float = Field(description="The first class's probability minus the second's.")
    unfamiliar: bool | None
    image: str = Field(description=DIGEST)
    excerpt: str | None = Field(description=EXCERPT)
    created_at: datetime.datetime
    version: VersionOrigin
    run: RunResponse | None = Field(description="Null if no run made the version.")
    example_id: int | None = Field(description="Null if the input was never labelled.")
    labels: list[LabelEventResponse] = Field(description="Of its input, oldest first.")

    @staticmethod
    def from_record(
        origin: PredictionOrigin, manifest: Manifest | None, run: Run | None, excerpts: Excerpts
    ) -> PredictionDetail:
        prediction = origin.prediction
        return PredictionDetail(
            prediction_id=prediction.id,
            label=prediction.label,
            confidence=prediction.confidence,
            margin=prediction.margin,
            unfamiliar=prediction.unfamiliar,
            image=prediction.image,
            excerpt=excerpts.get(prediction.image),
            created_at=moment(prediction.created_at),
            version=VersionOrigin.from_record(origin.version, manifest),
            run=None if run is None else RunResponse.from_record(run),
            example_id=origin.example_id,
            labels=[LabelEventResponse.from_record(event) for event in origin.events],
        )


class SightResponse(BaseModel):
    version: int
    label: str = Field(description="The label that the version saw.")


@dataclass(frozen=True, slots=True)
class ExampleReview:
    """What is known of an example beside its lineage."""

    item: ExampleItem
    found: Found | None
    image_problem: str | None
    preview_size: tuple[int, int]


class ExampleDetail(BaseModel):
    id: int
    image: str = Field(description=DIGEST)
    excerpt: str | None = Field(description=EXCERPT)
    num_bytes: int
    width: int = Field(description="Pixels of an image, characters of a text.")
    height: int = Field(description="Pixels of an image, lines of a text.")
    source: str
    is_held_out: bool = Field(description="It judges versions and trains none, for good.")
    group_id: str = Field(description="Near-duplicates share it, and the side of the hold-out.")
    created_at: datetime.datetime
    image_problem: str | None = Field(
        description="How the image or text is lost: missing or damaged. Null: it is there."
    )
    thumbnail_width: int = Field(description="As `width`, of what `size=thumbnail` returns.")
    thumbnail_height: int
    label: str | None = Field(description="Null if its labels were retracted.")
    predicted: str | None = Field(description=PREDICTED)
    label_probability: float | None = Field(description=LABEL_PROBABILITY)
    unfamiliar: bool | None = Field(description=UNFAMILIAR)
    analysis: AnalysisOf | None = Field(description=ANALYSIS)
    labels: list[LabelEventResponse] = Field(description="Oldest first.")
    versions: list[SightResponse] = Field(description="Versions that saw it, newest first.")

    @staticmethod
    def from_record(
        record: ExampleRecord,
        events: Sequence[LabelEvent],
        label: str | None,
        sights: Sequence[Sight],
        review: ExampleReview,
        excerpts: Excerpts,
    ) -> ExampleDetail:
        width, height = review.preview_size
        item, found = review.item, review.found
        return ExampleDetail(
            id=record.id,
            image=record.image,
            excerpt=excerpts.get(record.image),
            num_bytes=record.num_bytes,
            width=record.width,
            height=record.height,
            source=record.source,
            is_held_out=record.is_held_out,
            group_id=record.group_id,
            created_at=moment(record.created_at),
            image_problem=review.image_problem,
            thumbnail_width=width,
            thumbnail_height=height,
            label=label,
            predicted=item.predicted,
            label_probability=item.label_probability,
            unfamiliar=item.unfamiliar,
            analysis=None if found is None else AnalysisOf.from_record(found[0]),
            labels=[LabelEventResponse.from_record(event) for event in events],
            versions=[SightResponse(version=each.version, label=each.label) for each in sights],
        )


class ExampleOfVersion(BaseModel):
    example_id: int
    image: str = Field(description=DIGEST)
    excerpt: str | None = Field(description=EXCERPT)
    label: str
    is_held_out: bool

    @staticmethod
    def from_record(row: CurrentLabel, excerpts: Excerpts) -> ExampleOfVersion:
        return ExampleOfVersion(
            example_id=row.example_id,
            image=row.image,
            excerpt=excerpts.get(row.image),
            label=row.label,
            is_held_out=row.is_held_out,
        )


class ExamplesOfVersion(BaseModel):
    examples: list[ExampleOfVersion]
    next_after: int | None = Field(description="`after` of the next page; null at the end.")
