"""The bodies of responses that judge versions on held-out examples; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from core.review.comparing.comparison import Difference
from core.review.comparing.confusion import Confusion
from core.review.comparing.paired_tests import Comparison
from service.api.schemas.review import DIGEST, EXCERPT, Excerpts

Interval = Annotated[list[float], Field(description="At 95 %.", min_length=2, max_length=2)]
JUDGED = "Held-out examples that were judged: at most the newest 20,000, of classes that are known."
LEFT_OUT = "Held-out examples that are left out, as no embedding of them is stored."
NOTE = "What to know of the examples that were judged; null: nothing."
OTHER = "The place of the bucket for all other classes in `names`; null: there is none."


class Pair(BaseModel):
    judged: int
    before: float = Field(description="Accuracy, 0 to 1.")
    after: float
    change: float
    interval: Interval

    @staticmethod
    def from_record(pair: Comparison) -> Pair:
        return Pair(
            judged=pair.n,
            before=pair.champion_accuracy,
            after=pair.challenger_accuracy,
            change=pair.change,
            interval=[pair.low, pair.high],
        )


class ConfusionPair(BaseModel):
    names: list[str] = Field(description="At most 200, those with the most examples first.")
    other: int | None = Field(description=OTHER)
    before: list[list[int]] = Field(description="A row for each label, a column as predicted.")
    after: list[list[int]]


class FlipItem(BaseModel):
    example_id: int
    image: str = Field(description=DIGEST)
    excerpt: str | None = Field(description=EXCERPT)
    label: str
    before: str = Field(description="What the version predicts.")
    after: str
    mended: bool = Field(description="Only `after` is right; false: only `before`.")


class DifferenceResponse(BaseModel):
    before: int
    after: int
    judged: int = Field(description=JUDGED)
    not_embedded: int = Field(description=LEFT_OUT)
    note: str | None = Field(description=NOTE)
    overall: Pair
    classes: dict[str, Pair] = Field(description="By label: the 1,000 with the most examples.")
    confusion: ConfusionPair
    flips: list[FlipItem] = Field(description="Worst first.")
    flips_total: int

    @staticmethod
    def from_record(
        found: Difference, note: str | None, images: dict[int, str], excerpts: Excerpts, limit: int
    ) -> DifferenceResponse:
        return DifferenceResponse(
            before=found.before,
            after=found.after,
            judged=found.overall.n,
            not_embedded=found.num_not_embedded,
            note=note,
            overall=Pair.from_record(found.overall),
            classes={name: Pair.from_record(pair) for name, pair in found.by_class.items()},
            confusion=ConfusionPair(
                names=list(found.shown.names),
                other=found.shown.other,
                before=found.before_KK.tolist(),
                after=found.after_KK.tolist(),
            ),
            flips=[
                FlipItem(
                    example_id=flip.example_id,
                    image=images[flip.example_id],
                    excerpt=excerpts.get(images[flip.example_id]),
                    label=flip.label,
                    before=flip.before,
                    after=flip.after,
                    mended=flip.is_mended,
                )
                for flip in found.flips[:limit]
                if flip.example_id in images
            ],
            flips_total=found.num_flips,
        )


class ClassTally(BaseModel):
    judged: int
    right: int


class ConfusionResponse(BaseModel):
    version: int
    judged: int = Field(description=JUDGED)
    not_embedded: int = Field(description=LEFT_OUT)
    note: str | None = Field(description=NOTE)
    names: list[str] = Field(description="At most 200, those with the most examples first.")
    other: int | None = Field(description=OTHER)
    matrix: list[list[int]] = Field(description="A row for each label, a column as predicted.")
    accuracy: float = Field(description="0 to 1; 0 if none was judged.")
    interval: Interval
    classes: dict[str, ClassTally] = Field(description="By label.")

    @staticmethod
    def from_record(found: Confusion, note: str | None) -> ConfusionResponse:
        return ConfusionResponse(
            version=found.version,
            judged=found.num_judged,
            not_embedded=found.num_not_embedded,
            note=note,
            names=list(found.names),
            other=found.other,
            matrix=found.matrix_KK.tolist(),
            accuracy=found.accuracy,
            interval=list(found.interval),
            classes={
                name: ClassTally(judged=judged, right=right)
                for name, (judged, right) in found.by_class.items()
            },
        )
