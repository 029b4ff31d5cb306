"""The champion: which version answers. PUT promotes one, or rolls back to one."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool

from core.errors import InvalidRequest, NotReady, PromotionFailed
from core.registry import activations, promotions
from core.registry.wait import PromotionWaiter
from service.api.dependencies import ServingDep
from service.api.schemas import ChampionAnswer, ChampionRequest
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["champion"])

_LOOK_EVERY_S = 0.05
_WAIT_S = 30.0


@router.get("/v1/champion", response_model=ChampionAnswer)
def current(response: Response, serving: ServingDep) -> ChampionAnswer:
    """The newest activation. Its ETag goes into If-Match of a PUT."""
    return _answer(response, serving)


@router.put(
    "/v1/champion",
    response_model=ChampionAnswer,
    responses={202: {"description": "The workers are still loading it; GET tells when."}},
)
async def promote(
    body: ChampionRequest,
    response: Response,
    serving: ServingDep,
    if_match: Annotated[str | None, Header()] = None,
) -> ChampionAnswer:
    """Make a version the champion. Answers once every worker answers with it."""
    expected = _activation_of(if_match)
    promotion_id = await run_in_threadpool(_request, serving, body, expected)
    serving.swap.wake()
    awaited = PromotionWaiter(serving.store.db, promotion_id)
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        ended = await run_in_threadpool(awaited.poll)
        if ended is not None:
            if ended.activate_at is None:
                raise PromotionFailed(
                    f"version {body.version} did not become champion: {ended.error}; "
                    "the version before it goes on answering"
                )
            await asyncio.sleep(max(0.0, ended.activate_at - time.time()))
            return await run_in_threadpool(_answer, response, serving)
        await asyncio.sleep(_LOOK_EVERY_S)
    response.status_code = 202
    return await run_in_threadpool(_answer, response, serving)


def _request(serving: ServingProcess, body: ChampionRequest, expected: int | None) -> int:
    with serving.store.db.write() as conn:
        return promotions.request(
            conn,
            body.version,
            who=body.who,
            why=body.why,
            now=time.time(),
            expected_activation=expected,
        ).id


def _answer(response: Response, serving: ServingProcess) -> ChampionAnswer:
    with serving.store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        previous = activations.version_before(conn)
    if newest is None:
        raise NotReady("no version is published yet; try again in a second")
    response.headers["ETag"] = f'"{newest.id}"'
    return ChampionAnswer.of(newest, previous)


def _activation_of(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not re.fullmatch(r"[0-9]{1,19}", tag):
        raise InvalidRequest(
            f"If-Match is {if_match[:40]!r}; send the ETag that GET /v1/champion answers with"
        )
    return int(tag)
