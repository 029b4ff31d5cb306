"""The champion: the version that predicts. PUT promotes a version, or rolls back to one."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool

from core.audit import Actor
from core.errors import InvalidRequest, NotReady, PromotionFailed
from core.registry import promotions, rollback, version_files
from core.registry.wait import PromotionWaiter
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.schemas.bodies import ChampionRequest, ChampionResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["champion"])

_POLL_EVERY_S = 0.05
_WAIT_S = 30.0
_TAG = '(W/)?"?[0-9]{1,19}"?'
_IF_MATCH = rf"^(\*|{_TAG}(, *{_TAG})*)$"


@router.get("/v1/champion", response_model=ChampionResponse)
def current(response: Response, serving: ServingDep) -> ChampionResponse:
    """Return the newest activation. Its ETag goes into If-Match of a PUT."""
    return _respond(response, serving)


@router.put(
    "/v1/champion",
    response_model=ChampionResponse,
    responses={202: {"description": "The workers are still loading it; poll GET."}},
)
async def promote(
    body: ChampionRequest,
    response: Response,
    serving: ServingDep,
    caller: CallerDep,
    if_match: Annotated[str | None, Header(json_schema_extra={"pattern": _IF_MATCH})] = None,
) -> ChampionResponse:
    """Make a version the champion. Responds once every worker predicts with it."""
    accepted = _activations_of(if_match)
    who = caller.who(body.who)
    by = caller.actor(who)
    promotion_id = await run_in_threadpool(_request, serving, body, by, accepted)
    serving.swap.wake()
    waiter = PromotionWaiter(serving.store.db, promotion_id)
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        result = await run_in_threadpool(waiter.poll)
        if result is not None:
            if result.activate_at is None:
                raise PromotionFailed(
                    f"version {body.version} did not become champion: {result.error}; "
                    "the previous champion stays live"
                )
            clock = serving.store.db.clock
            await asyncio.sleep(result.remaining_s(clock() - clock.error_s()))
            return await run_in_threadpool(_respond, response, serving)
        await asyncio.sleep(_POLL_EVERY_S)
    response.status_code = 202
    return await run_in_threadpool(_respond, response, serving)


def _request(serving: ServingProcess, body: ChampionRequest, by: Actor, accepted: list[int]) -> int:
    version_files.check_loadable(body.version, serving.store)
    with serving.store.db.write() as conn:
        newest = promotions.newest_activation(conn)
        is_accepted = newest is not None and newest.id in accepted
        expected = newest.id if newest and is_accepted else next(iter(accepted), None)
        return promotions.request(
            conn,
            body.version,
            who=by.who,
            why=body.why,
            now=serving.store.db.clock(),
            expected_activation=expected,
            by=by,
        ).id


def _respond(response: Response, serving: ServingProcess) -> ChampionResponse:
    with serving.store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        previous = rollback.previous(conn)
    if newest is None:
        raise NotReady("no version is published yet; try again in a second")
    response.headers["ETag"] = f'"{newest.id}"'
    return ChampionResponse.from_record(newest, previous)


def _activations_of(if_match: str | None) -> list[int]:
    """Any of them may be the newest activation; empty: whichever it is. A tag may be weak, as a
    proxy that compresses makes it, or without quotes. Raises InvalidRequest."""
    if if_match is None or if_match.strip() == "*":
        return []
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,19}", tag) for tag in tags):
        raise InvalidRequest(f"If-Match is {if_match[:40]!r}; send the ETag of GET /v1/champion")
    return [int(tag) for tag in tags]
