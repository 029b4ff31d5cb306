"""Requests of clients that have disconnected are cancelled, so that the GPU does not work for them.

Only with the batcher, where requests wait long enough for it to matter: watching a connection takes
a task for each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from starlette.requests import ClientDisconnect
from starlette.types import Receive


async def cancel_on_disconnect(receive: Receive, work: Awaitable[None]) -> None:
    """Do the work for a request whose body is read; cancel it when the client disconnects.

    Raises ClientDisconnect then, and whatever the work raises.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(_until_disconnect(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
