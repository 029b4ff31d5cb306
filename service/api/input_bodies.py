"""The inputs that a request brings, in the ways that the kind of the home has for HTTP.

An input is the body itself (`Content-Type: image/jpeg`, say, or `text/plain`), a field of
`multipart/form-data`, or a string of a JSON body. The format of an image is found out from its
bytes, whatever type the client names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from core.errors import EvergreenError, InputError, InvalidRequest, UnsupportedMediaType
from core.inputs import kinds
from core.inputs.kind import InputKind, Wire
from service.api.json_bodies import MAX_INPUTS
from service.api.request_bodies import FORM, JSON, media_type, media_type_of

# Fields of a form other than the input; each is a label, an id or a name.
_MAX_FIELDS = 16


@dataclass(frozen=True, slots=True)
class Inputs:
    # What is wrong with an input of a list comes in its place.
    contents: list[bytes | EvergreenError]
    # Whether the response is a list too.
    is_list: bool

    @property
    def first(self) -> bytes:
        """Raises what is wrong with it."""
        (content, *_) = self.contents
        if isinstance(content, EvergreenError):
            raise content
        return content


def is_raw(content_type: str, wire: Wire) -> bool:
    """Whether the body of this Content-Type is an input itself. Raises UnsupportedMediaType if it
    names a charset that the kind does not have."""
    if not media_type_of(content_type).startswith(wire.media_types):
        return False
    if wire.charsets and ";" in content_type:
        charset = parse_options_header(content_type)[1].get(b"charset", b"").decode("latin-1")
        if charset.strip().lower() not in ("", *wire.charsets):
            raise UnsupportedMediaType(
                f"the charset is {charset[:40]!r}; send the {wire.field} in {wire.charsets[0]}"
            )
    return True


async def read_inputs(request: Request, kind: InputKind) -> Inputs:
    """One input or several, in order. Raises UnsupportedMediaType, InvalidRequest, and what is
    wrong with an input that comes alone."""
    content_type = request.headers.get("content-type", "")
    if is_raw(content_type, kind.wire):
        return Inputs([await request.body()], is_list=False)
    if kind.wire.json_field is not None and media_type(request) == JSON:
        return from_json(await request.body(), kind)
    if media_type(request) != FORM:
        raise not_taken(content_type, kind)
    contents, fields = await read_form(request, kind, MAX_INPUTS)
    if fields:
        field = kind.wire.field
        raise InvalidRequest(
            f"the form has unknown fields {sorted(name[:40] for name in fields)}; it takes "
            f"{_part(kind)}s `{field}` only"
        )
    return Inputs([*contents], is_list=len(contents) > 1)


def not_taken(content_type: str, kind: InputKind) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        f"the Content-Type is {media_type_of(content_type)[:100]!r}; {_what_is_taken(kind)}"
    )


def refuse_strings(field: str, kind: InputKind) -> None:
    """Raises UnsupportedMediaType if JSON carries no inputs of this kind in that field."""
    if kind.wire.json_field != field:
        raise UnsupportedMediaType(f"the body has a field `{field}`; {_what_is_taken(kind)}")


def _what_is_taken(kind: InputKind) -> str:
    wire = kind.wire
    json_body = "" if wire.json_field is None else f', {JSON} {{"{wire.json_field}": "..."}}'
    return (
        f"this home classifies {kind.plural}: send the {kind.noun} itself as {wire.example}"
        f"{json_body}, or {FORM} with a field `{wire.field}`"
    )


def from_json(body: bytes, kind: InputKind) -> Inputs:
    """One input, or a list of them. `json_bodies.py` has found that the body is JSON.

    Raises InvalidRequest, and what is wrong with an input that comes alone.
    """
    one, several = kind.wire.json_field, kind.wire.json_list
    wanted = f'send {{"{one}": "..."}}, or {{"{several}": ["...", ...]}}'
    try:
        fields = json.loads(body)
    except ValueError as error:  # nothing at all
        raise InvalidRequest(f"the body is no JSON; {wanted}") from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"the body is {_type_of(fields)}; {wanted}")
    unknown = sorted(name[:40] for name in fields.keys() - {one, several})
    if unknown:
        raise InvalidRequest(f"the body has unknown fields {unknown[:5]}; {wanted}")
    if len(fields) != 1:
        raise InvalidRequest(f"the body has {len(fields)} of the fields; {wanted}")
    if one in fields:
        return Inputs([kind.encode(_string(fields[one], f"`{one}`"))], is_list=False)
    values = fields[several]
    if not isinstance(values, list):
        raise InvalidRequest(f"`{several}` is {_type_of(values)}; {wanted}")
    if not 1 <= len(values) <= MAX_INPUTS:
        raise InvalidRequest(
            f"`{several}` has {len(values):,} {kind.plural}; send 1 to {MAX_INPUTS} in a request"
        )
    strings = [_string(value, f"`{several}[{i}]`") for i, value in enumerate(values)]
    return Inputs([_encoded(value, kind) for value in strings], is_list=True)


def _encoded(value: str, kind: InputKind) -> bytes | EvergreenError:
    try:
        return kind.encode(value)
    except InputError as error:
        return error


def _string(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise InvalidRequest(f"{name} is {_type_of(value)}; send a string")


def _type_of(value: Any) -> str:
    """The type that JSON gives it. Values are not quoted: they may hold a text."""
    names: Mapping[type, str] = {
        **{dict: "an object", list: "a list", str: "a string", bool: "a boolean"},
        type(None): "null",
    }
    return names.get(type(value), "a number")


async def read_form(
    request: Request, kind: InputKind, max_inputs: int = 1
) -> tuple[list[bytes], dict[str, str]]:
    """The inputs of a form, one at least, and its other fields. Raises UnsupportedMediaType,
    InvalidRequest."""
    field, part = kind.wire.field, _part(kind)
    body = await request.body()
    _check_has_end(request.headers["content-type"], body, kind)
    inputs: list[bytes] = []
    fields: dict[str, str] = {}
    most_fields = _MAX_FIELDS + max_inputs
    try:
        async with request.form(max_files=max_inputs, max_fields=most_fields) as form:
            for name, value in form.multi_items():
                if kinds.of_field(name) not in (None, kind):
                    raise UnsupportedMediaType(
                        f"the form has a field {name!r}; {_what_is_taken(kind)}"
                    )
                if isinstance(value, UploadFile):
                    if name != field:
                        raise InvalidRequest(
                            f"the file is in a field {name[:40]!r}; name the field `{field}`"
                        )
                    inputs.append(await value.read())
                elif name == field and kind.wire.json_field is None:
                    raise InvalidRequest(
                        f'the part `{field}` has no file name; add one: form-data; name="{field}"; '
                        'filename="photo.jpg"'
                    )
                elif name in fields:
                    raise InvalidRequest(f"the form has {name[:40]!r} twice; send it once")
                elif value.encode() not in body:  # the parser takes other bytes for Latin-1
                    raise InvalidRequest(
                        f"the field {name[:40]!r} is not UTF-8; send the fields of the form "
                        f"{'' if name == field else f'beside `{field}` '}in UTF-8"
                    )
                elif name == field:
                    inputs.append(value.encode())
                else:
                    fields[name] = value
    except HTTPException as error:
        raise InvalidRequest(
            f"the form cannot be read ({error.detail}); send {FORM} with a {part} `{field}`"
        ) from error
    if not inputs:
        raise InvalidRequest(
            f"the form has no {part} `{field}`; with curl: -F {kind.wire.form_example}"
        )
    if len(inputs) > max_inputs:
        raise InvalidRequest(
            f"the form has {len(inputs)} {kind.plural}; send at most {max_inputs} in a request"
        )
    return inputs, fields


def _part(kind: InputKind) -> str:
    return "file" if kind.wire.json_field is None else "field"


def _check_has_end(content_type: str, body: bytes, kind: InputKind) -> None:
    """The parser would drop an unfinished part, and take the form. Raises InvalidRequest."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if boundary is not None and b"--" + boundary + b"--" not in body:
        raise InvalidRequest(
            f"the form has no end; send a {_part(kind)} `{kind.wire.field}`, and behind the last "
            "part the boundary between two pairs of hyphens"
        )
