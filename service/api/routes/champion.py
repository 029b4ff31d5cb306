"""The champion: the version that predicts. PUT promotes a version, or rolls back to one."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool

from core.errors import InvalidRequest, NotReady, PromotionFailed
from core.registry import activations, promotions, versions
from core.registry.wait import PromotionWaiter
from service.api.dependencies import ServingDep
from service.api.schemas import ChampionRequest, ChampionResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["champion"])

_POLL_EVERY_S = 0.05
_WAIT_S = 30.0


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
    if_match: Annotated[str | None, Header()] = None,
) -> ChampionResponse:
    """Make a version the champion. Responds once every worker predicts with it."""
    expected = _activation_of(if_match)
    promotion_id = await run_in_threadpool(_request, serving, body, expected)
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
            await asyncio.sleep(result.remaining_s(time.time()))
            return await run_in_threadpool(_respond, response, serving)
        await asyncio.sleep(_POLL_EVERY_S)
    response.status_code = 202
    return await run_in_threadpool(_respond, response, serving)


def _request(serving: ServingProcess, body: ChampionRequest, expected: int | None) -> int:
    versions.check_loadable(body.version, serving.store)
    with serving.store.db.write() as conn:
        return promotions.request(
            conn,
            body.version,
            who=body.who,
            why=body.why,
            now=time.time(),
            expected_activation=expected,
        ).id


def _respond(response: Response, serving: ServingProcess) -> ChampionResponse:
    with serving.store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        previous = activations.version_before(conn)
    if newest is None:
        raise NotReady("no version is published yet; try again in a second")
    response.headers["ETag"] = f'"{newest.id}"'
    return ChampionResponse.from_record(newest, previous)


def _activation_of(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not re.fullmatch(r"[0-9]{1,19}", tag):
        raise InvalidRequest(f"If-Match is {if_match[:40]!r}; send the ETag of GET /v1/champion")
    return int(tag)
