"""The receipt of an erasure; OpenAPI is made from it."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel, Field

from core.erased import Erasure
from service.api.schemas.bodies import moment, moment_or_none


class ErasedVersion(BaseModel):
    version: int
    by: Literal["examples", "backbone"] = Field(
        description="Its head was trained or judged on the example, or only its backbone tuned."
    )
    fate: Literal["retired", "retired-after-promotion", "retired-before", "kept"] = Field(
        description="As the recipe said then: `[retention] erased_versions`."
    )


class Receipt(BaseModel):
    """What was erased, and what is left."""

    image: str = Field(description="SHA-256 of the image or text, which is deleted.")
    example_id: int | None = Field(description="Null: the input was never labelled.")
    prediction_id: str | None = Field(description="Null: the example was named.")
    erased_at: datetime.datetime
    finished_at: datetime.datetime | None = Field(
        description="Null: something is left to do, as `remains` says; send the request again."
    )
    who: str
    thumb: str | None = Field(None, description="SHA-256 of the thumbnail, which is deleted.")
    embeddings: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of each embedding, which is deleted, by that of its backbone.",
    )
    predictions: int = Field(description="Rows of the input, which are deleted.")
    shadow_answers: int = Field(description="Answers of shadows to them, which are deleted.")
    spooled: int = Field(description="Spooled predictions of this machine, which are deleted.")
    thumbnails: int = Field(
        0, description="Cached thumbnails of it on this machine, which are deleted."
    )
    labels: list[int] = Field(
        default_factory=list,
        description="Label events that keep their ids only: label, author, prediction and key are "
        "blank, and they are retracted.",
    )
    idempotency_keys: int = Field(0, description="How many of them had a key.")
    analyses: int = Field(0, description="Analyses that have it, which are deleted.")
    near_duplicates: list[int] = Field(
        description="Other examples that look the same. They stay; at most 1,000."
    )
    versions: list[ErasedVersion] = Field(description="Those that saw it, newest first.")
    runs: list[str] = Field(description="Runs that had cached it, and begin anew.")
    remains: list[str] = Field(description="Where a copy may still be, and until when.")

    @staticmethod
    def from_record(erasure: Erasure) -> Receipt:
        return Receipt(
            image=erasure.image,
            example_id=erasure.example_id,
            prediction_id=erasure.prediction_id,
            erased_at=moment(erasure.created_at),
            finished_at=moment_or_none(erasure.finished_at),
            **erasure.receipt,
        )
