"""Request bodies: a limit on every one, and the two ways to send an image.

Raw (`Content-Type: image/jpeg`, any image type, or `application/octet-stream`) or a field `image`
of `multipart/form-data`. What the bytes are is for `core.inputs.pixels` to find out; the type that
a client names is not believed, only understood.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import BodyTooLarge, InvalidRequest, SlowBody, UnsupportedMediaType
from service.api import problems

_RAW = ("image/", "application/octet-stream")
FORM = "multipart/form-data"
JSON = "application/json"
# Fields of a form beside the image; each is a label, an id or a name.
_MAX_FIELDS = 16


# Images of one request: their answers come together, so the first waits for the last.
_MAX_IMAGES = 64
# A client that sends nothing for so long is gone, or would hold its connection for ever.
IDLE_S = 15.0
# And one that sends a little now and then. Below the 60 seconds that BentoML gives a request of its
# own endpoint, as its refusal would say nothing of the body.
WHOLE_S = 50.0


@dataclass(frozen=True, slots=True)
class ImageBody:
    image: bytes
    # The other fields of the form; empty for a raw body.
    fields: dict[str, str]


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_image(request: Request) -> ImageBody:
    """Raises UnsupportedMediaType, InvalidRequest; BodyTooLarge comes out of the reading."""
    (image,), fields = await _read(request, max_images=1)
    return ImageBody(image, fields)


async def read_images(request: Request) -> list[bytes]:
    """One image or several, in order. Raises as `read_image` does."""
    images, _ = await _read(request, max_images=_MAX_IMAGES)
    return images


async def _read(request: Request, max_images: int) -> tuple[list[bytes], dict[str, str]]:
    found = media_type(request)
    if found.startswith(_RAW):
        return [await request.body()], {}
    if found == FORM:
        return await _read_form(request, max_images)
    raise UnsupportedMediaType(
        f"the Content-Type is {found[:100]!r}; send the image itself as image/jpeg (or png, webp, "
        f"...), or {FORM} with a field `image`"
    )


async def _read_form(request: Request, max_images: int) -> tuple[list[bytes], dict[str, str]]:
    images: list[bytes] = []
    fields: dict[str, str] = {}
    try:
        async with request.form(max_files=max_images, max_fields=_MAX_FIELDS) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if name != "image":
                        raise InvalidRequest(
                            f"the file is in a field {name[:40]!r}; name the field `image`"
                        )
                    images.append(await value.read())
                else:
                    fields[name] = value
    except HTTPException as error:
        raise InvalidRequest(
            f"the form cannot be read ({error.detail}); send {FORM} with a file `image`"
        ) from error
    if not images:
        raise InvalidRequest("the form has no file `image`; with curl: -F image=@photo.jpg")
    return images, fields


class BodyLimit:
    """ASGI: refuse a body over the limit, by its announced length at once, else while it comes; and
    one that stops coming."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._max_bytes:
            # The connection stays: closed at once, a client still sending would see a reset.
            refusal = self._too_large(f"{int(announced):,}")
            await problems.of(refusal, scope["path"])(scope, receive, send)
            return
        num_bytes = 0
        refused: BodyTooLarge | SlowBody | None = None
        has_started = is_whole = False
        ends_at = time.monotonic() + WHOLE_S

        async def limited() -> Message:
            nonlocal num_bytes, refused, is_whole
            if is_whole:
                return await receive()  # the client's going away, which may take its time
            try:
                async with asyncio.timeout(min(IDLE_S, ends_at - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                refused = _too_slow(time.monotonic() >= ends_at)
                raise refused from None
            is_whole = not message.get("more_body", False)
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                refused = self._too_large(f"more than {self._max_bytes:,}")
                raise refused
            return message

        async def answer(message: Message) -> None:
            nonlocal has_started
            if refused is None or has_started:
                has_started = True
                await send(message)
            elif message["type"] == "http.response.start":
                # Frameworks make a 400 or a 500 of what interrupts their reading.
                await problems.of(refused, scope["path"])(scope, receive, send)

        try:
            await self._app(scope, limited, answer)
        except (BodyTooLarge, SlowBody):
            # Whoever read was no framework.
            if has_started or refused is None:
                raise
            await problems.of(refused, scope["path"])(scope, receive, send)

    def _too_large(self, found: str) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has {found} bytes; the limit is {self._max_bytes:,} "
            "(EVERGREEN_MAX_BODY_MB); send a smaller copy of the image"
        )


def _too_slow(is_over: bool) -> SlowBody:
    if is_over:
        return SlowBody(
            f"the body is not whole after {WHOLE_S:g} seconds: send a smaller copy of the image, "
            "or over a faster line"
        )
    return SlowBody(
        f"nothing came for {IDLE_S:g} seconds, and the body is not whole: send it again"
    )
