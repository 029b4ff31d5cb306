"""Retraining: ask for a run, follow it, cancel it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from core import runs
from core.labelling.census import require_enough
from core.runs import Run
from service.api.dependencies import ServingDep
from service.api.schemas import RetrainRequest, RunAnswer, RunList
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["runs"])

_LOOK_EVERY_S = 0.2


@router.post("/v1/retrain", status_code=202, response_model=RunAnswer)
def retrain(
    response: Response, serving: ServingDep, body: RetrainRequest | None = None
) -> RunAnswer:
    """Ask for a run on everything labelled so far. If one waits already, this is that one."""
    with serving.store.db.write() as conn:
        require_enough(conn)
        asked = body or RetrainRequest()
        run, _ = runs.request(
            conn,
            trigger="request",
            now=time.time(),
            tier=asked.tier,
            wanted={"minutes": asked.minutes} if asked.minutes else None,
        )
    response.headers["Location"] = f"/v1/runs/{run.id}"
    return RunAnswer.of(run)


@router.get("/v1/runs", response_model=RunList)
def listing(serving: ServingDep, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> RunList:
    """Newest first."""
    with serving.store.db.read() as conn:
        return RunList(runs=[RunAnswer.of(run) for run in runs.listing(conn, limit)])


@router.get("/v1/runs/{run_id}", response_model=RunAnswer)
def one(run_id: str, serving: ServingDep) -> RunAnswer:
    return RunAnswer.of(_get(serving, run_id))


@router.delete("/v1/runs/{run_id}", status_code=202, response_model=RunAnswer)
def cancel(run_id: str, serving: ServingDep) -> RunAnswer:
    """Cancel a run: at once if it waits, at its next step if it runs."""
    with serving.store.db.write() as conn:
        return RunAnswer.of(runs.cancel(conn, run_id, time.time()))


def _existing(run_id: str, serving: ServingDep) -> str:
    """Looked up before the answer begins: in the midst of a stream it is too late for a 404."""
    return _get(serving, run_id).id


@router.get("/v1/runs/{run_id}/events", response_class=EventSourceResponse)
async def events(
    run_id: Annotated[str, Depends(_existing)], serving: ServingDep
) -> AsyncIterator[ServerSentEvent]:
    """Follow a run: an event `progress` for each change, and `end` at the end."""
    shown: tuple[object, ...] = ()
    while True:
        run = await run_in_threadpool(_get, serving, run_id)
        state = (run.state, run.step, run.progress)
        if state != shown:
            shown = state
            name = "end" if run.is_finished else "progress"
            yield ServerSentEvent(event=name, data=RunAnswer.of(run))
        if run.is_finished:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _get(serving: ServingProcess, run_id: str) -> Run:
    with serving.store.db.read() as conn:
        return runs.get(conn, run_id)
