"""The bodies of responses that people review labels by; OpenAPI is made from them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from pydantic import BaseModel, Field

from core.predictions import Prediction
from core.review import items
from core.review.analyses import AnalysisRow
from service.api.schemas.bodies import moment, moment_or_none

PREDICTED = "The most likely class, by a fit that has not seen the example."
LABEL_PROBABILITY = (
    "0 to 1, of the label, by the same fit. Null too if the label was given since the analysis."
)
UNFAMILIAR = "It is unlike everything else labelled. Null: the analysis does not know."
ANALYSIS = "The newest analysis. Null: there is none yet."
NEXT_AFTER = (
    "Send it as `after` for the next ones, with the other parameters as they are; null: there are "
    "none."
)

DIGEST = "SHA-256 of the image or text."
EXCERPT = "The beginning of the text. Null for images, and where the text cannot be read now."

# By the digest of the input.
Excerpts = Mapping[str, str]


class ExampleItem(BaseModel):
    """An example in a list. What an analysis says is null where it does not know the example."""

    id: int
    image: str = Field(description=DIGEST)
    excerpt: str | None = Field(description=EXCERPT)
    label: str | None = Field(description="Null if its labels were retracted.")
    held_out: bool = Field(description="It judges versions and trains none, for good.")
    source: str = Field(description="`feedback`, `prediction`, `import` and the like.")
    created_at: datetime.datetime
    labelled_at: datetime.datetime | None = Field(description="When its label was given.")
    predicted: str | None = Field(description=PREDICTED)
    label_probability: float | None = Field(description=LABEL_PROBABILITY)
    unfamiliar: bool | None = Field(description=UNFAMILIAR)
    width: int = Field(description="Pixels of an image, characters of a text.")
    height: int = Field(description="Pixels of an image, lines of a text.")

    @staticmethod
    def from_record(item: items.ExampleItem, excerpts: Excerpts) -> ExampleItem:
        return ExampleItem(
            id=item.id,
            image=item.image,
            excerpt=excerpts.get(item.image),
            label=item.label,
            held_out=item.is_held_out,
            source=item.source,
            created_at=moment(item.created_at),
            labelled_at=moment_or_none(item.labelled_at),
            predicted=item.predicted,
            label_probability=item.label_probability,
            unfamiliar=item.unfamiliar,
            width=item.width,
            height=item.height,
        )


class AnalysisOf(BaseModel):
    """The analysis that a response is by."""

    version: int
    at: datetime.datetime

    @staticmethod
    def from_record(row: AnalysisRow) -> AnalysisOf:
        return AnalysisOf(version=row.version, at=moment(row.created_at))


class ExampleList(BaseModel):
    examples: list[ExampleItem] = Field(
        description="There may be fewer than `limit`, and still a `next_after`."
    )
    next_after: str | None = Field(description=NEXT_AFTER)
    analysis: AnalysisOf | None = Field(description=ANALYSIS)


class PredictionItem(BaseModel):
    """A prediction in a list."""

    id: str = Field(description="Send it with a label to correct this prediction.")
    image: str = Field(description=DIGEST)
    excerpt: str | None = Field(description=EXCERPT)
    version: int
    label: str
    confidence: float
    margin: float = Field(description="The first class's probability minus the second's.")
    unfamiliar: bool | None = Field(
        description="The input is unlike everything labelled. Null: the version cannot say."
    )
    created_at: datetime.datetime

    @staticmethod
    def from_record(prediction: Prediction, excerpts: Excerpts) -> PredictionItem:
        return PredictionItem(
            id=prediction.id,
            image=prediction.image,
            excerpt=excerpts.get(prediction.image),
            version=prediction.version,
            label=prediction.label,
            confidence=prediction.confidence,
            margin=prediction.margin,
            unfamiliar=prediction.unfamiliar,
            created_at=moment(prediction.created_at),
        )


class PredictionItems(BaseModel):
    predictions: list[PredictionItem] = Field(
        description="There may be fewer than `limit`, and still a `next_after`."
    )
    next_after: str | None = Field(description=NEXT_AFTER)
