"""The page's sign-in: a key is pasted once, and a cookie stands for it from then on."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from core import audit
from core.audit import Actor
from core.errors import KeyRequired, StoreError
from core.store.database import Database
from service.api.access.caller import CallerDep
from service.api.access.renewal import renewed
from service.api.access.sessions import Sessions
from service.api.dependencies import ServingDep
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["session"])


class SessionRequest(BaseModel, extra="forbid"):
    key: str = Field(max_length=200, description="A key that is in force.")


class SessionResponse(BaseModel):
    name: str | None = Field(description="The name of the key or user; null: nobody was asked.")
    role: str = Field(description="predict, label, train or admin.")
    is_signed_in: bool = Field(description="By the cookie of POST /v1/session.")


@router.post("/v1/session", response_model=SessionResponse)
async def sign_in(
    body: SessionRequest, request: Request, response: Response, serving: ServingDep
) -> SessionResponse:
    """Exchange a key for a cookie, as the page does. It ends after 12 hours, and with the key."""
    ring = await renewed(serving.key_ring)
    key = ring.find(body.key.strip(), ring.clock())
    if key is None:
        raise KeyRequired("this is no key in force: paste the whole key, eg_..., or ask for one")
    sessions: Sessions = request.app.state.sessions
    sessions.begin(key, response, request.scope)
    by = Actor(key.name, key.id, request.state.request_id)
    await run_in_threadpool(_record, serving.store.db, by, "session.begun")
    return SessionResponse(name=key.name, role=key.role.word, is_signed_in=True)


@router.get("/v1/session", response_model=SessionResponse)
async def current(caller: CallerDep) -> SessionResponse:
    """Return who the caller is."""
    return SessionResponse(
        name=caller.name, role=caller.role.word, is_signed_in=caller.is_signed_in
    )


@router.delete("/v1/session", status_code=204)
async def sign_out(request: Request, response: Response, serving: ServingDep) -> None:
    """Delete the cookie."""
    sessions: Sessions = request.app.state.sessions
    sessions.end(response)
    with suppress(StoreError):  # the browser's cookie goes, whether or not the database answers
        await _record_end(request, sessions, serving)


async def _record_end(request: Request, sessions: Sessions, serving: ServingProcess) -> None:
    """Anyone may send this, and only a session in force ends. Raises StoreError."""
    ring = await renewed(serving.key_ring)
    headers = dict(request.scope["headers"])
    identity = sessions.key_id(headers)
    key = None if identity is None else ring.in_force(identity, ring.clock())
    if key is not None and sessions.is_of(headers, key):
        by = Actor(key.name, key.id, request.state.request_id)
        await run_in_threadpool(_record, serving.store.db, by, "session.ended")


def _record(db: Database, by: Actor, action: str) -> None:
    with db.write() as conn:
        audit.record(conn, by, action, f"key {by.key_id}", db.clock())
