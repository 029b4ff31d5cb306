"""Request bodies: their limits, and the two ways to send an image.

An image is the body itself (`Content-Type: image/jpeg`, any image type, or
`application/octet-stream`), or a field `image` of `multipart/form-data`. `core.inputs.pixels` finds
out the format from the bytes, whatever type the client names.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from core.errors import BodyTooLarge, InvalidRequest, SlowBody, UnsupportedMediaType
from service.api import json_bodies

_RAW = ("image/", "application/octet-stream")
FORM = "multipart/form-data"
JSON = "application/json"
# Fields of a form other than the image; each is a label, an id or a name.
_MAX_FIELDS = 16
# Images of one request: they share a response, so the first waits for the last.
_MAX_IMAGES = 64
# A client that sends nothing for so long would hold its connection for ever.
IDLE_S = 15.0
# So would one that sends a little now and then. Shorter than the 60 seconds after which BentoML
# refuses a request, because its response says nothing of the body.
WHOLE_S = 50.0


@dataclass(frozen=True, slots=True)
class ImageBody:
    image: bytes
    # The other fields of the form; empty for a raw body.
    fields: dict[str, str]


def media_type(request: Request) -> str:
    return _media_type(request.headers.get("content-type", ""))


def is_raw(content_type: str) -> bool:
    """Whether the body of this Content-Type is an image itself."""
    return _media_type(content_type).startswith(_RAW)


def _media_type(content_type: str) -> str:
    return content_type.split(";")[0].strip().lower()


async def read_image(request: Request) -> ImageBody:
    """Fields of a form come with it. Raises UnsupportedMediaType, InvalidRequest."""
    (image,), fields = await _read(request, max_images=1)
    return ImageBody(image, fields)


async def read_images(request: Request) -> list[bytes]:
    """One image or several, in order. Raises as `read_image` does."""
    images, fields = await _read(request, max_images=_MAX_IMAGES)
    if fields:
        raise InvalidRequest(
            f"the form has unknown fields {sorted(name[:40] for name in fields)}; it takes files "
            "`image` only"
        )
    return images


async def _read(request: Request, max_images: int) -> tuple[list[bytes], dict[str, str]]:
    content_type = media_type(request)
    if content_type.startswith(_RAW):
        return [await request.body()], {}
    if content_type == FORM:
        _check_has_end(request.headers["content-type"], await request.body())
        return await _read_form(request, max_images)
    raise UnsupportedMediaType(
        f"the Content-Type is {content_type[:100]!r}; send the image itself as image/jpeg (or png, "
        f"webp, ...), or {FORM} with a field `image`"
    )


def _check_has_end(content_type: str, body: bytes) -> None:
    """The parser would drop an unfinished part, and take the form. Raises InvalidRequest."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if boundary is not None and b"--" + boundary + b"--" not in body:
        raise InvalidRequest(
            "the form has no end; send a file `image`, and behind the last part the boundary "
            "between two pairs of hyphens"
        )


async def _read_form(request: Request, max_images: int) -> tuple[list[bytes], dict[str, str]]:
    images: list[bytes] = []
    fields: dict[str, str] = {}
    body = await request.body()
    try:
        async with request.form(max_files=max_images, max_fields=_MAX_FIELDS) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if name != "image":
                        raise InvalidRequest(
                            f"the file is in a field {name[:40]!r}; name the field `image`"
                        )
                    images.append(await value.read())
                elif name == "image":
                    raise InvalidRequest(
                        'the part `image` has no file name; add one: form-data; name="image"; '
                        'filename="photo.jpg"'
                    )
                elif name in fields:
                    raise InvalidRequest(f"the form has {name[:40]!r} twice; send it once")
                elif value.encode() not in body:  # the parser takes other bytes for Latin-1
                    raise InvalidRequest(
                        f"the field {name[:40]!r} is not UTF-8; send the fields of the form beside "
                        "`image` in UTF-8"
                    )
                else:
                    fields[name] = value
    except HTTPException as error:
        raise InvalidRequest(
            f"the form cannot be read ({error.detail}); send {FORM} with a file `image`"
        ) from error
    if not images:
        raise InvalidRequest("the form has no file `image`; with curl: -F image=@photo.jpg")
    return images, fields


async def read_body(receive: Receive, length: int | None, max_bytes: int) -> bytes:
    """Read a whole body, of this length if it was announced.

    Raises BodyTooLarge, before it reads anything if the length says so; SlowBody; ClientDisconnect.
    """
    if length is not None and length > max_bytes:
        raise _too_large(f"{length:,}", max_bytes)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + WHOLE_S
    parts: list[bytes] = []
    num_bytes = 0
    try:
        # One timer for the whole body, moved on with each part.
        async with asyncio.timeout(min(IDLE_S, WHOLE_S)) as timer:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                num_bytes += len(part)
                if num_bytes > max_bytes:
                    raise _too_large(f"more than {max_bytes:,}", max_bytes)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
                timer.reschedule(min(loop.time() + IDLE_S, ends_at))
    except TimeoutError:
        raise _too_slow(loop.time() >= ends_at) from None


def checked(scope: Scope, body: bytes, length: int | None, *, may_be_json: bool) -> bytes:
    """The body as the routes read it. Raises InvalidRequest, UnsupportedMediaType, BodyTooLarge."""
    _check_complete(scope, body, length)
    if not body or scope["path"].startswith("/v2/"):  # its protocol has rules of its own
        return body
    is_json = False
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedMediaType(
                f"the Content-Encoding is {value.decode('latin-1')[:40]!r}, which this route does "
                "not take; send the body as it is"
            )
        if may_be_json and name == b"content-type":
            is_json = _media_type(value.decode("latin-1")) == JSON
    return json_bodies.to_utf8(body, scope["path"]) if is_json else body


def _check_complete(scope: Scope, body: bytes, length: int | None) -> None:
    """The server reads no body behind an offer to upgrade the connection, such as `Upgrade: h2c`,
    which Java's client makes by default. It is never taken for an empty one. Raises InvalidRequest.
    """
    names = {name for name, _ in scope["headers"]}
    has_body = length or b"transfer-encoding" in names
    if b"upgrade" in names and has_body and len(body) < (length or 1):
        announced = "chunks" if length is None else f"{length:,} bytes"
        raise InvalidRequest(
            f"the body has {len(body):,} bytes and not the {announced} that its header announces; "
            "send it without the header Upgrade (with Java: HttpClient.Version.HTTP_1_1)"
        )


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _too_large(size: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {size} bytes; the limit is {max_bytes:,} (EVERGREEN_MAX_BODY_MB); send a "
        "smaller copy of the image"
    )


def _too_slow(is_over: bool) -> SlowBody:
    if is_over:
        return SlowBody(
            f"the body is incomplete after {WHOLE_S:g} seconds: send a smaller copy of the image, "
            "or use a faster connection"
        )
    return SlowBody(
        f"nothing arrived for {IDLE_S:g} seconds, and the body is incomplete: send it again"
    )
