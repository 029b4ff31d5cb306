"""Bodies that are written to a file as they arrive, and are never whole in memory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Send

from core.errors import BodyTooLarge, DiskFull, InvalidRequest, SlowBody, StoreError
from core.system.files import fsync_file, fsync_folder, make_private_folder, writing_whole

PATH = "/v1/imports"
# A client that sends nothing for so long is gone.
IDLE_S = 30.0
# So is one that sends a little now and then.
WHOLE_S = 4 * 3600.0
_WRITE_BYTES = 4 << 20
# A file of gigabytes that is made durable at once would hold up others who do so.
_SYNC_EVERY_BYTES = 64 << 20
_IGNORED = "evergreen.still_reading"


async def stop_timeout(send: Send) -> None:
    """Stop BentoML's timer for this request, which would end an upload after a minute.

    The timer ends with the first message of the response, before the server sees it. The server
    refuses this one, as no response begins with it, and goes on.
    """
    with contextlib.suppress(RuntimeError):
        await send({"type": _IGNORED})


async def save_body(
    request: Request, path: Path, max_bytes: int, check_room: Callable[[int], None]
) -> int:
    """Write the body to a new file, which is durable then or absent. Returns its size in bytes.

    `check_room` raises DiskFull if the disk has no room for so many bytes more. Raises
    BodyTooLarge, SlowBody, InvalidRequest, DiskFull, StoreError, ClientDisconnect.
    """
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdigit() else None
    if length is not None and length > max_bytes:
        raise _too_large(f"{length:,}", max_bytes)
    try:
        await run_in_threadpool(make_private_folder, path.parent)
        await run_in_threadpool(check_room, length or 0)
        with writing_whole(path) as unfinished:
            try:
                num_bytes = await _Writer(unfinished, max_bytes, check_room).write(request.receive)
                if num_bytes != (num_bytes if length is None else length):
                    raise InvalidRequest(
                        f"the body has {num_bytes:,} bytes and not the {length:,} that its header "
                        "announces; send it again"
                    )
                await run_in_threadpool(fsync_file, unfinished)
            except BaseException:
                # To free gigabytes takes long, and would stall the event loop.
                with contextlib.suppress(OSError):
                    await run_in_threadpool(os.truncate, unfinished, 0)
                raise
        await run_in_threadpool(fsync_folder, path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{path} cannot be written: {error}") from error
        raise StoreError(f"{path} cannot be written: {error}") from error
    return num_bytes


class _Writer:
    def __init__(self, path: Path, max_bytes: int, check_room: Callable[[int], None]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._check_room = check_room

    async def write(self, receive: Receive) -> int:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + WHOLE_S
        num_bytes = num_unsynced = 0
        buffer = bytearray()
        with self._path.open("wb", buffering=0) as file:
            while True:
                message = await self._receive(receive, ends_at)
                part = message.get("body", b"")
                num_bytes += len(part)
                if num_bytes > self._max_bytes:
                    raise _too_large(f"more than {self._max_bytes:,}", self._max_bytes)
                buffer += part
                is_last = not message.get("more_body", False)
                if is_last or len(buffer) >= _WRITE_BYTES:
                    await run_in_threadpool(self._check_room, len(buffer))
                    content = bytes(buffer)
                    buffer.clear()
                    num_unsynced += len(content)
                    should_sync = num_unsynced >= _SYNC_EVERY_BYTES
                    await run_in_threadpool(_write_all, file.fileno(), content, should_sync)
                    num_unsynced = 0 if should_sync else num_unsynced
                if is_last:
                    return num_bytes

    async def _receive(self, receive: Receive, ends_at: float) -> Message:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(IDLE_S, max(0.0, ends_at - loop.time()))):
                message = await receive()
        except TimeoutError:
            raise SlowBody(
                f"nothing arrived for {IDLE_S:g} seconds, or not all in {WHOLE_S / 3600:g} hours; "
                "send the archive again, in parts if it is large"
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message


def _write_all(file: int, content: bytes, should_sync: bool) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
    if should_sync:
        os.fsync(file)


def _too_large(size: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the archive has {size} bytes; the limit is {max_bytes:,} (EVERGREEN_MAX_IMPORT_MB); "
        "import it in parts, or with `evergreen import` on the server"
    )
