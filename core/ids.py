"""Ids of rows: how to make one, and which texts cannot be one."""

from __future__ import annotations

import uuid
from typing import Any

import uuid_utils


def new_id() -> str:
    """Return a UUIDv7. It sorts by time, so new rows go to the end of the index."""
    return str(uuid_utils.uuid7())


def canonical(value: Any) -> Any:
    """Return a UUID as we write it. Anything else is returned as it is."""
    try:
        return str(uuid.UUID(value.strip())) if isinstance(value, str) else value
    except ValueError:
        return value


def may_be_id(text: str) -> bool:
    """Return False for text that cannot be an id. A database may refuse to compare with it."""
    return len(text) <= 36 and text.isascii() and text.isprintable()
