"""What a client has already, as the tag says that came with it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Header

IfNoneMatch = Annotated[
    str | None, Header(description="The `ETag` of what the client has; 304 if it is still that.")
]
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The client has it, as its `If-None-Match` says."}
}


def of_content(content: str) -> str:
    return f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    return if_none_match is not None and (tag in if_none_match or if_none_match.strip() == "*")
