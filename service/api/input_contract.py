"""What the OpenAPI document says of bodies that carry inputs.

A home takes inputs of one kind, and its document has the bodies of that kind alone, so a client
that is generated from it has no others. The document of the code, without a home, has all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.exchange.sources import has_tables
from core.exchange.tables.table import Format
from core.inputs.kind import InputKind, Wire
from service.api.json_bodies import MAX_INPUTS
from service.api.request_bodies import FORM, JSON
from service.api.schemas.bodies import FeedbackRequest

# Of an archive, or of a table whose format its name tells.
ANY_FILE = "application/octet-stream"
ARCHIVES = ("application/zip", "application/x-zip-compressed", ANY_FILE)
TABLES: dict[str, Format] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-ndjson": "json",
    "application/jsonl": "json",
    JSON: "json",
}
_BYTES: dict[str, Any] = {"type": "string", "format": "binary"}
_CHARACTERS: dict[str, Any] = {"type": "string", "minLength": 1}


def of_predict(taken: Sequence[InputKind]) -> dict[str, Any]:
    """The `openapi_extra` of the route."""
    content: dict[str, Any] = {}
    for kind in taken:
        wire = kind.wire
        for name in wire.media_types:
            content[f"{name}*" if name.endswith("/") else name] = {"schema": _schema(wire)}
    forms = []
    for kind in taken:
        one = _schema(kind.wire)
        several = {"oneOf": [one, {"type": "array", "items": one, "maxItems": MAX_INPUTS}]}
        forms.append(_object({kind.wire.field: several}, [kind.wire.field]))
    content[FORM] = {"schema": _one_of(forms)}
    json_bodies = [each for kind in taken for each in _json_bodies(kind.wire)]
    if json_bodies:
        content[JSON] = {"schema": _one_of(json_bodies)}
    return {"requestBody": {"required": True, "content": content}}


def of_feedback(taken: Sequence[InputKind]) -> dict[str, Any]:
    """The `openapi_extra` of the route."""
    labelled = FeedbackRequest.model_json_schema()
    if not any(kind.wire.json_field in labelled["properties"] for kind in taken):
        del labelled["properties"]["text"]
    fields = {name: labelled["properties"][name] for name in ("label", "who")}
    forms = [
        _object({kind.wire.field: _schema(kind.wire), **fields}, [kind.wire.field, "label"])
        for kind in taken
    ]
    content = {JSON: {"schema": labelled}, FORM: {"schema": _one_of(forms)}}
    return {"requestBody": {"required": True, "content": content}}


def of_import(taken: Sequence[InputKind]) -> dict[str, Any]:
    """The `openapi_extra` of the route."""
    types = {*ARCHIVES, *TABLES} if any(map(has_tables, taken)) else {*ARCHIVES}
    # A schema of JSON would be of its value, which is known when the import has read the rows.
    content = {name: {"schema": {} if name == JSON else _BYTES} for name in sorted(types)}
    return {"requestBody": {"required": True, "content": content}}


def of_home(document: dict[str, Any], kind: InputKind) -> None:
    """Leave the bodies of this kind alone in the document."""
    for path, bodies in _BODIES.items():
        document["paths"][path]["post"] |= bodies([kind])


_BODIES = {"/v1/predict": of_predict, "/v1/feedback": of_feedback, "/v1/imports": of_import}


def _schema(wire: Wire) -> dict[str, Any]:
    return _BYTES if wire.json_field is None else _CHARACTERS


def _json_bodies(wire: Wire) -> list[dict[str, Any]]:
    found = []
    if wire.json_field is not None:
        found.append(_object({wire.json_field: _CHARACTERS}, [wire.json_field]))
    if wire.json_list is not None:
        items = {"type": "array", "items": _CHARACTERS, "minItems": 1, "maxItems": MAX_INPUTS}
        found.append(_object({wire.json_list: items}, [wire.json_list]))
    return [{**each, "additionalProperties": False} for each in found]


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _one_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
