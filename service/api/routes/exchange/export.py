"""GET /v1/export: the labelled set, as an archive or a file of rows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from core import audit
from core.exchange.exporting.export import Export
from core.exchange.exporting.export_rows import Format
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.query_types import Flag

router = APIRouter(tags=["export"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_CONTENT = {
    kind: _BINARY
    for kind in ("application/zip", "text/csv", "application/x-ndjson", "application/json")
}


@router.get(
    "/v1/export",
    response_class=StreamingResponse,
    responses={200: {"description": "The export.", "content": _CONTENT}},
)
def export(
    serving: ServingDep,
    caller: CallerDep,
    format: Annotated[
        Format,
        Query(
            description="folder: train and held_out, with a folder per class, and labels.csv. "
            "csv: only labels.csv, in which no cell is a formula of a spreadsheet: an apostrophe "
            "precedes such a one, and an import takes it away. jsonl: labels.jsonl. label-studio: "
            "tasks.json, and the form that shows them. Images stand beside these files, and texts "
            "in their rows."
        ),
    ] = "folder",
    images: Annotated[
        Flag, Query(description="false: only the file of rows, without an archive.")
    ] = True,
) -> StreamingResponse:
    """Download all labelled images or texts as of now, with label, side, author and time. POST
    /v1/imports takes the file. What is lost is named in the file report.json of an archive."""
    prepared = Export.begin(serving.store, format, images)
    audit.record_read(
        serving.store.db,
        caller.actor(),
        "labels.exported",
        f"labels up to {prepared.snapshot}",
        format=format,
        images=images,
    )
    headers = {
        "Content-Disposition": f'attachment; filename="{prepared.file_name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(prepared.pieces(), media_type=prepared.media_type, headers=headers)
