"""GET /v1/status: the state of the installation."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service import metrics
from service.api.dependencies import ServingDep
from service.api.status.read import read_status
from service.api.status.schemas import Status

router = APIRouter(tags=["status"])


@router.get("/v1/status", response_model=Status)
def status(serving: ServingDep) -> Status:
    """Return the state of the installation.

    It answers within seconds, whatever the database does. Without it, what is read there is null
    or empty, and `degraded` names it.
    """
    return read_status(serving)


@router.get("/metrics", response_class=Response, include_in_schema=False)
def scrape(serving: ServingDep) -> Response:
    return Response(
        metrics.render(serving.store, serving.spool.depth(), serving.health),
        media_type=CONTENT_TYPE_LATEST,
    )
