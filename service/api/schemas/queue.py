"""The bodies of responses that say what to label next, and what an input is like."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from core.review import neighbours
from core.review.analyses import AnalysisRow
from core.review.queue import rankings, reservations
from core.review.queue import show as queue
from service.api.schemas.review import AnalysisOf, ExampleItem, Excerpts, PredictionItem


class QueueItem(BaseModel):
    """A prediction to label, or an example whose label is suspected."""

    kind: Literal["prediction", "example"]
    prediction: PredictionItem | None
    example: ExampleItem | None
    why: str = Field(description="Why it is in the queue, such as `margin 0.03`.")

    @staticmethod
    def from_record(item: rankings.QueueItem, excerpts: Excerpts) -> QueueItem:
        prediction, example = item.prediction, item.example
        return QueueItem(
            kind="example" if prediction is None else "prediction",
            prediction=(
                None if prediction is None else PredictionItem.from_record(prediction, excerpts)
            ),
            example=None if example is None else ExampleItem.from_record(example, excerpts),
            why=item.why,
        )


class QueueResponse(BaseModel):
    by: queue.By
    items: list[QueueItem] = Field(description="What is most worth a label first.")
    waiting: int = Field(description="How many the items were chosen from.")
    reserved_seconds: int = Field(description="So long nobody else is shown these items.")
    analysis: AnalysisOf | None = Field(description="What names the suspects. Null: there is none.")
    hint: str | None = Field(description="What to do where there are no items; null: there are.")

    @staticmethod
    def from_record(
        shown: queue.Queue, analysis: AnalysisRow | None, excerpts: Excerpts
    ) -> QueueResponse:
        return QueueResponse(
            by=shown.by,
            items=[QueueItem.from_record(item, excerpts) for item in shown.items],
            waiting=shown.num_waiting,
            reserved_seconds=int(reservations.RESERVED_S),
            analysis=None if analysis is None else AnalysisOf.from_record(analysis),
            hint=shown.hint,
        )


class NeighbourItem(BaseModel):
    example: ExampleItem
    similarity: float = Field(description="Cosine of the embeddings, -1 to 1.")

    @staticmethod
    def from_record(each: neighbours.Neighbour, excerpts: Excerpts) -> NeighbourItem:
        return NeighbourItem(
            example=ExampleItem.from_record(each.example, excerpts), similarity=each.similarity
        )


class NeighbourList(BaseModel):
    version: int = Field(description="The champion, by whose backbone inputs are compared.")
    neighbours: list[NeighbourItem] = Field(description="Nearest first.")
