"""Erase an image or a text, and all that was made of it."""

from __future__ import annotations

from fastapi import APIRouter

from core.erased import Erasure
from core.erasure.erase import Eraser
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.query_types import Who
from service.api.schemas.bodies import WholeNumber
from service.api.schemas.erasures import Receipt
from service.inference import erasing
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["erasure"])


@router.delete("/v1/examples/{example_id}", response_model=Receipt)
def example(
    example_id: WholeNumber, serving: ServingDep, caller: CallerDep, who: Who = None
) -> Receipt:
    """Erase a labelled input: its bytes, thumbnail, embeddings and predictions are deleted, its
    labels are retracted and blanked, and the next version is trained without it. Near-duplicates
    are other examples, and stay. Once more, it answers the same receipt."""
    author = caller.who(who)
    erasure = _eraser(serving).erase_example(example_id, author, caller.actor(author))
    return _receipt(serving, erasure)


@router.delete("/v1/predictions/{prediction_id}", response_model=Receipt)
def prediction(
    prediction_id: str, serving: ServingDep, caller: CallerDep, who: Who = None
) -> Receipt:
    """Erase the input of a prediction: all predictions of the same input are deleted, and if it was
    labelled, its example is erased too. Once more, it answers the same receipt."""
    eraser, author = _eraser(serving), caller.who(who)
    by = caller.actor(author)
    erasure = erasing.erase_prediction(eraser, serving.spool, prediction_id, author, by)
    return _receipt(serving, erasure)


def _receipt(serving: ServingProcess, erasure: Erasure) -> Receipt:
    serving.excerpts.forget(erasure.image)
    return Receipt.from_record(erasure)


def _eraser(serving: ServingProcess) -> Eraser:
    return erasing.eraser(serving.settings, serving.store, serving.spool, serving.retention)
