"""The bodies of responses with predictions; OpenAPI is made from them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from core.errors import EvergreenError
from core.predict import PredictionResult
from service.api import problems
from service.api.problems import Problem


class ClassScore(BaseModel):
    label: str
    confidence: float = Field(description="0 to 1, calibrated.")


class PredictionResponse(BaseModel):
    prediction_id: str = Field(description="Send it with a label to correct this prediction.")
    version: int
    label: str
    confidence: float
    abstains: bool = Field(description="The model is too unsure: ask a person.")
    unfamiliar: bool | None = Field(
        description="The input is unlike everything labelled. Null: the version cannot say."
    )
    top: list[ClassScore] = Field(description="The most likely classes, best first.")
    truncated: bool | None = Field(
        description="Only the beginning of the text was read, as it has too many tokens. Null for "
        "images."
    )
    note: str | None = Field(
        description="What the sender should know, such as that words are unknown. Null: nothing."
    )
    zero_shot: bool = Field(description="The version has seen no labels, and goes by class names.")

    @staticmethod
    def from_record(result: PredictionResult, top: int) -> PredictionResponse:
        prediction = result.prediction
        return PredictionResponse(
            prediction_id=prediction.id,
            version=prediction.version,
            label=prediction.label,
            confidence=prediction.confidence,
            abstains=result.abstains,
            unfamiliar=prediction.unfamiliar,
            top=[ClassScore(label=c, confidence=p) for c, p in result.best(top)],
            truncated=result.is_truncated,
            note=result.note,
            zero_shot=result.is_zero_shot,
        )


class ItemResponse(BaseModel):
    """The prediction for one input, or the problem with it."""

    prediction: PredictionResponse | None
    problem: Problem | None


class PredictionList(BaseModel):
    items: list[ItemResponse] = Field(
        description="In the order of the inputs, all from one version."
    )

    @staticmethod
    def from_records(results: list[PredictionResult | EvergreenError], top: int) -> PredictionList:
        return PredictionList(
            items=[
                ItemResponse(prediction=None, problem=problems.to_problem(item))
                if isinstance(item, EvergreenError)
                else ItemResponse(
                    prediction=PredictionResponse.from_record(item, top), problem=None
                )
                for item in results
            ]
        )
