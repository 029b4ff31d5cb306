"""Times, flags and authors, as a query has them. Numbers are in `service/api/schemas/bodies.py`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator

from core.plain_text import MAX_WHO_CHARACTERS
from service.api.schemas.bodies import WHO


def _time(value: Any) -> Any:
    """Pydantic takes a number for seconds, and a date for its midnight. In a query, a plus that was
    not written as %2B is a space."""
    if not isinstance(value, str) or _TIME.match(value) is None:
        raise ValueError("send a time with its offset, such as 2026-12-01T08:00:00Z")
    return re.sub(r" (?=\d\d:?\d\d$)", "+", value)


def _flag(value: Any) -> Any:
    """Pydantic takes 1, yes and on."""
    if isinstance(value, str) and value.lower() not in ("true", "false"):
        raise ValueError("send true or false")
    return value


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
# A time of a query, in ISO 8601 with its offset.
Time = Annotated[AwareDatetime, BeforeValidator(_time)]
# Of a query.
Flag = Annotated[bool, BeforeValidator(_flag)]
# `Caller.who` checks it.
Who = Annotated[
    str | None, Query(description=WHO, json_schema_extra={"maxLength": MAX_WHO_CHARACTERS})
]
