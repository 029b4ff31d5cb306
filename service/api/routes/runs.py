"""Retraining: request a run, follow it, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from core import runs
from core.labelling.census import require_enough
from core.runs import Run
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.schemas.bodies import AnyUuid, Limit, RetrainRequest, RunList, RunResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["runs"])

_POLL_EVERY_S = 0.2

RunId = Annotated[str, AnyUuid]


@router.post("/v1/retrain", status_code=202, response_model=RunResponse)
def retrain(
    response: Response,
    serving: ServingDep,
    caller: CallerDep,
    body: RetrainRequest | None = None,
) -> RunResponse:
    """Request a run on all labels so far. If one is waiting already, that one is returned."""
    with serving.store.db.write() as conn:
        require_enough(conn)
        wanted = body or RetrainRequest()
        run, _ = runs.request(
            conn,
            trigger="request",
            now=serving.store.db.clock(),
            tier=wanted.tier,
            wanted={"minutes": wanted.minutes} if wanted.minutes else None,
            by=caller.actor(),
        )
    response.headers["Location"] = f"/v1/runs/{run.id}"
    return RunResponse.from_record(run)


@router.get("/v1/runs", response_model=RunList)
def listing(serving: ServingDep, limit: Limit = 50) -> RunList:
    """List the runs, newest first."""
    with serving.store.db.read() as conn:
        return RunList(runs=[RunResponse.from_record(run) for run in runs.listing(conn, limit)])


@router.get("/v1/runs/{run_id}", response_model=RunResponse)
def one(run_id: RunId, serving: ServingDep) -> RunResponse:
    return RunResponse.from_record(_get(serving, run_id))


@router.delete("/v1/runs/{run_id}", status_code=202, response_model=RunResponse)
def cancel(run_id: RunId, serving: ServingDep, caller: CallerDep) -> RunResponse:
    """Cancel a run: a waiting one immediately, a running one at its next step."""
    now = serving.store.db.clock()
    with serving.store.db.write() as conn:
        return RunResponse.from_record(runs.cancel(conn, run_id, now, caller.actor()))


def _existing(run_id: RunId, serving: ServingDep) -> str:
    """Look the run up before the response starts: a stream cannot become a 404."""
    return _get(serving, run_id).id


@router.get("/v1/runs/{run_id}/events", response_class=EventSourceResponse)
async def events(
    run_id: Annotated[str, Depends(_existing)], serving: ServingDep
) -> AsyncIterator[ServerSentEvent]:
    """Follow a run: an event `progress` for each change, then `end`. A server that stops ends the
    stream earlier."""
    shown: tuple[object, ...] = ()
    while True:
        run = await run_in_threadpool(_get, serving, run_id)
        state = (run.state, run.step, run.progress)
        if state != shown:
            shown = state
            name = "end" if run.is_finished else "progress"
            yield ServerSentEvent(event=name, data=RunResponse.from_record(run))
        if run.is_finished or serving.drain.is_on:
            return
        await asyncio.sleep(_POLL_EVERY_S)


def _get(serving: ServingProcess, run_id: str) -> Run:
    with serving.store.db.read() as conn:
        return runs.get(conn, run_id)
