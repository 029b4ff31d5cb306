"""Departures: a client that goes away while its images wait for the GPU is not worked for.

Only with the batcher, where requests wait long enough for it to matter: the watch costs each of
them a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.inference.predictor import Serving

_Result = TypeVar("_Result")


async def unless_gone(
    receive: Receive, serving: Serving, work: Coroutine[Any, Any, _Result]
) -> _Result:
    """Do the work for this request, whose body is read; cancel it when the client goes away.

    Raises ClientDisconnect then, and whatever the work raises.
    """
    if serving.batcher is None:
        return await work
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
