"""Request bodies: a limit on every one, and the two ways to send an image.

Raw (`Content-Type: image/jpeg`, any image type, or `application/octet-stream`) or a field `image`
of `multipart/form-data`. What the bytes are is for `core.pixels` to find out; the type that a
client names is not believed, only understood.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from service import problems

_RAW = ("image/", "application/octet-stream")
FORM = "multipart/form-data"
JSON = "application/json"
# Fields of a form beside the image; each is a label, an id or a name.
_MAX_FIELDS = 16


@dataclass(frozen=True, slots=True)
class ImageBody:
    image: bytes
    # The other fields of the form; empty for a raw body.
    fields: dict[str, str]


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_image(request: Request) -> ImageBody:
    """Raises UnsupportedMediaType, InvalidRequest; BodyTooLarge comes out of the reading."""
    found = media_type(request)
    if found.startswith(_RAW):
        return ImageBody(await request.body(), {})
    if found == FORM:
        return await _read_form(request)
    raise UnsupportedMediaType(
        f"the Content-Type is {found[:100]!r}; send the image itself as image/jpeg (or png, webp, "
        f"...), or {FORM} with a field `image`"
    )


async def _read_form(request: Request) -> ImageBody:
    image: bytes | None = None
    fields: dict[str, str] = {}
    try:
        async with request.form(max_files=1, max_fields=_MAX_FIELDS) as form:
            for name, value in form.items():
                if isinstance(value, UploadFile):
                    if name != "image":
                        raise InvalidRequest(
                            f"the file is in a field {name[:40]!r}; name the field `image`"
                        )
                    image = await value.read()
                else:
                    fields[name] = value
    except HTTPException as error:
        raise InvalidRequest(
            f"the form cannot be read ({error.detail}); send {FORM} with one file `image`"
        ) from error
    if image is None:
        raise InvalidRequest("the form has no file `image`; with curl: -F image=@photo.jpg")
    return ImageBody(image, fields)


class BodyLimit:
    """ASGI: refuse a body over the limit, by its announced length at once, else while it comes."""

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
        refused: BodyTooLarge | None = None
        has_started = False

        async def limited() -> Message:
            nonlocal num_bytes, refused
            message = await receive()
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

        await self._app(scope, limited, answer)

    def _too_large(self, found: str) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has {found} bytes; the limit is {self._max_bytes:,} "
            "(EVERGREEN_MAX_BODY_MB); send a smaller copy of the image"
        )
