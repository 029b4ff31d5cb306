"""Imports: upload an archive or a table, follow its import, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from core.errors import InvalidRequest, UnsupportedMediaType
from core.exchange.importing import jobs
from core.exchange.importing.jobs import Import
from core.exchange.reading.items import Layout
from core.exchange.reading.source_file import shown
from core.exchange.sources import Options, check_file, has_tables, table_format
from core.exchange.tables.columns import MAX_NAME_CHARACTERS, Columns
from core.ids import new_id
from core.inputs import kinds
from core.inputs.kind import InputKind
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.system.host import this_host
from service.api import input_contract, uploads
from service.api.access.caller import Caller, CallerDep
from service.api.dependencies import ServingDep
from service.api.input_contract import ANY_FILE, ARCHIVES, TABLES
from service.api.request_bodies import media_type
from service.api.schemas.bodies import WHO, AnyUuid, Limit
from service.api.schemas.exchange import ImportList, ImportResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["imports"])

# A file system takes at most 255.
_MAX_NAME_CHARACTERS = 300
_POLL_EVERY_S = 0.5
_LISTED_PROBLEMS = 10

ImportId = Annotated[str, AnyUuid]


@router.post(
    uploads.PATH,
    status_code=202,
    response_model=ImportResponse,
    openapi_extra=input_contract.of_import(kinds.ALL),
)
async def upload(
    request: Request,
    response: Response,
    serving: ServingDep,
    caller: CallerDep,
    name: Annotated[
        str,
        Query(
            max_length=_MAX_NAME_CHARACTERS,
            description="What to call the file. Empty: archive.zip, or table.csv for a table.",
        ),
    ] = "",
    layout: Annotated[
        Layout,
        Query(
            description="auto: a label file, or one folder per class, which may be in folders such "
            "as train and test. classes: each folder at the top is a class, whatever it is called."
        ),
    ] = "auto",
    who: Annotated[str | None, Query(max_length=MAX_WHO_CHARACTERS, description=WHO)] = None,
    text: Annotated[
        str,
        Query(max_length=MAX_NAME_CHARACTERS, description="The column of a table with the texts."),
    ] = "text",
    label: Annotated[
        str,
        Query(max_length=MAX_NAME_CHARACTERS, description="The column of a table with the labels."),
    ] = "label",
) -> ImportResponse:
    """Import the labelled inputs of a zip archive: one folder per class, or files with a file of
    labels (CSV, JSON lines, or Label Studio's JSON). A home of texts takes such a file alone, too.

    The file is stored before the response, and worked on after it.
    """
    author = caller.who(who)
    check_plain("name", name, _MAX_NAME_CHARACTERS)
    options = _options(request, serving.store.kind, name, Columns(text, label))
    name = name or ("archive.zip" if options.table is None else f"table.{options.table}")
    import_id = new_id()
    files = serving.importer.files
    path = files.path(import_id)
    limit = serving.settings.max_import_bytes
    num_bytes = await uploads.save_body(request, path, limit, files.check_room)
    try:
        await run_in_threadpool(check_file, path, name, serving.store.kind, options)
        add = partial(_add, serving, caller, import_id, shown(name), num_bytes, author, layout)
        record = await run_in_threadpool(add, options)
    except BaseException:
        await asyncio.shield(run_in_threadpool(files.delete, import_id))
        raise
    serving.importer.wake()
    response.headers["Location"] = f"{uploads.PATH}/{import_id}"
    return ImportResponse.from_record(record)


@router.get("/v1/imports", response_model=ImportList)
def listing(
    serving: ServingDep,
    limit: Limit = 100,
    before: Annotated[
        str | None, Query(max_length=36, description="Only imports before this one."), AnyUuid
    ] = None,
) -> ImportList:
    """List the imports, newest first."""
    with serving.store.db.read() as conn:
        found = jobs.listing(conn, limit + 1, before)
    shown_ones = [ImportResponse.from_record(each, _LISTED_PROBLEMS) for each in found[:limit]]
    return ImportList(
        imports=shown_ones, next_before=found[limit - 1].id if len(found) > limit else None
    )


@router.get("/v1/imports/{import_id}", response_model=ImportResponse)
def one(import_id: ImportId, serving: ServingDep) -> ImportResponse:
    """Return an import: its state, how far it is, what became of its files, and the names of those
    that were not imported as they are."""
    return ImportResponse.from_record(_get(serving, import_id))


@router.delete("/v1/imports/{import_id}", status_code=202, response_model=ImportResponse)
def cancel(import_id: ImportId, serving: ServingDep, caller: CallerDep) -> ImportResponse:
    """Cancel an import: a waiting one at once, a running one after the labels that it is writing.
    What it has labelled stays, as a batch that can be undone."""
    with serving.store.db.write() as conn:
        record = jobs.cancel(conn, import_id, caller.actor(), serving.store.db.clock())
    if record.is_finished:
        serving.importer.files.delete(record.id)
    return ImportResponse.from_record(record)


def _existing(import_id: ImportId, serving: ServingDep) -> str:
    """Look it up before the response starts: a stream cannot become a 404."""
    return _get(serving, import_id).id


@router.get("/v1/imports/{import_id}/events", response_class=EventSourceResponse)
async def events(
    import_id: Annotated[str, Depends(_existing)], serving: ServingDep
) -> AsyncIterator[ServerSentEvent]:
    """Follow an import: an event `progress` for each change, then `end`. A server that stops ends
    the stream earlier."""
    shown_state: tuple[object, ...] = ()
    while True:
        record = await run_in_threadpool(_get, serving, import_id)
        state = (record.state, record.position, record.total)
        if state != shown_state:
            shown_state = state
            is_last = record.is_finished
            data = ImportResponse.from_record(record, 1_000 if is_last else _LISTED_PROBLEMS)
            yield ServerSentEvent(event="end" if is_last else "progress", data=data)
        if record.is_finished or serving.drain.is_on:
            return
        await asyncio.sleep(_POLL_EVERY_S)


def _options(request: Request, kind: InputKind, name: str, columns: Columns) -> Options:
    """How the body is read, by the headers. Raises UnsupportedMediaType, InvalidRequest."""
    content_type = media_type(request)
    takes_tables = has_tables(kind)
    known = {*ARCHIVES, *TABLES} if takes_tables else {*ARCHIVES}
    if content_type not in known:
        tables = ", a table as text/csv or application/x-ndjson" if takes_tables else ""
        raise UnsupportedMediaType(
            f"the Content-Type is {content_type[:100]!r}; send a zip archive as application/zip"
            f"{tables}; this home classifies {kind.plural}"
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType(
            f"the Content-Encoding is {encoding[:40]!r}; send the archive as it is"
        )
    if "upgrade" in request.headers:
        raise InvalidRequest("send the archive without the header Upgrade")
    table = TABLES.get(content_type)
    if content_type == ANY_FILE and takes_tables:
        table = table_format(name)
    return Options(columns, table)


def _add(
    serving: ServingProcess,
    caller: Caller,
    import_id: str,
    name: str,
    num_bytes: int,
    who: str,
    layout: Layout,
    options: Options,
) -> Import:
    with serving.store.db.write() as conn:
        return jobs.add(
            conn,
            import_id,
            name=name,
            num_bytes=num_bytes,
            who=who,
            host=this_host(),
            layout=layout,
            options=options.to_json(),
            by=caller.actor(who),
            now=serving.store.db.clock(),
        )


def _get(serving: ServingProcess, import_id: str) -> Import:
    with serving.store.db.read() as conn:
        return jobs.get(conn, import_id)
