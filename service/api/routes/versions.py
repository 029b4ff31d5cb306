"""Versions: how each was trained, what the gate decided, and its model to download."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query, Response

from core.models import servable
from core.models.standalone import standalone, verify
from core.registry import promotions, versions
from core.shadows import answers, outcomes
from service.api.dependencies import ServingDep
from service.api.version_schemas import ShadowScore, VersionDetail, VersionList, VersionResponse

router = APIRouter(tags=["versions"])


@router.get("/v1/versions", response_model=VersionList)
def listing(
    serving: ServingDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int | None, Query(description="Only versions below this number.")] = None,
) -> VersionList:
    """List the versions, newest first, including those that the gate held back."""
    with serving.store.db.read() as conn:
        live = promotions.newest_activation(conn)
        listed = versions.listing(conn, limit=limit, before=before)
    number = live.version if live else None
    return VersionList(
        versions=[VersionResponse.from_record(version, number) for version in listed]
    )


@router.get("/v1/versions/{number}", response_model=VersionDetail)
def one(number: int, serving: ServingDep) -> VersionDetail:
    """Return a version with its manifest: classes, pixels, digests, snapshot, metrics, libraries.

    `shadow` compares its shadow predictions with the champion's.
    """
    with serving.store.db.read() as conn:
        version = versions.get(conn, number)
        live = promotions.newest_activation(conn)
        tally = answers.tally(conn, number)
        score = outcomes.score(outcomes.paired(conn, number, after=version.snapshot))
    summary = VersionResponse.from_record(version, live.version if live else None)
    manifest = json.loads(serving.store.blobs.get(version.manifest))
    return VersionDetail(
        **summary.model_dump(), manifest=manifest, shadow=ShadowScore.from_record(tally, score)
    )


@router.get(
    "/v1/versions/{number}/model.onnx",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def model(number: int, serving: ServingDep) -> Response:
    """Download the version as one verified ONNX file: uint8 pixels in, probabilities out."""
    store = serving.store
    with store.db.read() as conn:
        version = versions.get(conn, number)
    manifest = versions.read_manifest(version, store.blobs)
    content = standalone(store.blobs.get(version.backbone), store.blobs.get(version.head), manifest)
    verify(content, servable.load(manifest, store.blobs, serving.runtime))
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="evergreen-{number}.onnx"'},
    )
