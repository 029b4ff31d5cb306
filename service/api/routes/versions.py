"""Versions: how each was trained, what the gate decided, and its model to download."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from core import audit
from core.models import servable
from core.models.standalone import standalone, verify
from core.registry import promotions, signing, version_files, versions
from core.registry.versions import Version
from core.shadows import answers, outcomes
from service.api import etags
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.etags import IfNoneMatch
from service.api.schemas.bodies import Limit, WholeNumber
from service.api.schemas.versions import ShadowScore, VersionDetail, VersionList, VersionResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["versions"])


@router.get("/v1/versions", response_model=VersionList)
def listing(
    serving: ServingDep,
    limit: Limit = 50,
    before: Annotated[
        WholeNumber | None, Query(description="Only versions below this number.")
    ] = None,
) -> VersionList:
    """List the versions, newest first, including those that the gate held back."""
    with serving.store.db.read() as conn:
        live = promotions.newest_activation(conn)
        listed = versions.listing(conn, limit=limit, before=before)
        lost = version_files.recorded_lost(conn, listed)
    number = live.version if live else None
    return VersionList(
        versions=[
            VersionResponse.from_record(version, number, lost.get(version.number))
            for version in listed
        ]
    )


@router.get("/v1/versions/{number}", response_model=VersionDetail)
def one(number: WholeNumber, serving: ServingDep) -> VersionDetail:
    """Return a version with its manifest: classes, input spec, digests, snapshot, metrics and
    libraries.

    `shadow` compares its shadow predictions with the champion's.
    """
    with serving.store.db.read() as conn:
        version = versions.get(conn, number)
        live = promotions.newest_activation(conn)
        tally = answers.tally(conn, number)
        recent = outcomes.recent(conn, number, after=version.snapshot) if tally.answers else []
    is_kept = version.retired_at is None
    lost = version_files.describe(version_files.note(serving.store, version) if is_kept else {})
    summary = VersionResponse.from_record(version, live.version if live else None, lost)
    manifest, signed = None, False
    if is_kept and lost.get("manifest.json") in (None, "unsigned"):
        manifest, signed = signing.show_manifest(version, serving.store)
    return VersionDetail(
        **summary.model_dump(),
        manifest=manifest,
        signed=signed,
        shadow=ShadowScore.from_record(tally, outcomes.score(Counter(recent))),
    )


@router.get(
    "/v1/versions/{number}/model.onnx",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        **etags.NOT_MODIFIED,
    },
)
@router.head("/v1/versions/{number}/model.onnx", include_in_schema=False)
async def model(
    number: WholeNumber,
    serving: ServingDep,
    caller: CallerDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download the version as one verified ONNX file: pixels or tokens in, probabilities out."""
    version = await run_in_threadpool(_version, number, serving)
    export = serving.exports.known(version.manifest)
    if export is None:
        # In a compute thread: composing takes a core for a second, and one is composed at a time.
        export = await serving.predictor.compute(
            serving.exports.get, version.manifest, lambda: _compose(version, serving)
        )
    tag = f'"{export.sha256}"'
    if etags.matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    await run_in_threadpool(
        audit.record_read,
        serving.store.db,
        caller.actor(),
        "model.downloaded",
        f"version {number}",
    )
    return FileResponse(
        export.path,
        media_type="application/octet-stream",
        filename=f"evergreen-{number}.onnx",
        headers={"ETag": tag},
    )


def _version(number: int, serving: ServingProcess) -> Version:
    with serving.store.db.read() as conn:
        version = versions.get_kept(conn, number)
    if serving.store.signer is not None:  # an export is known by the digest that the row names
        versions.read_manifest(version, serving.store)
    return version


def _compose(version: Version, serving: ServingProcess) -> bytes:
    blobs = serving.store.blobs
    manifest = versions.read_manifest(version, serving.store)
    backbone = blobs.get(version.backbone, keep=True)
    content = standalone(backbone, blobs.get(version.head, keep=True), manifest)
    verify(content, servable.load(manifest, blobs, serving.runtime))
    return content
