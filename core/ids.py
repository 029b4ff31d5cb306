"""Ids of rows: how they are made, and what cannot be one."""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """A UUIDv7: sorts by time, so that rows arrive at the end of the index."""
    return str(uuid_utils.uuid7())


def may_be_id(text: str) -> bool:
    """False for text that no id looks like, and that a database may refuse to compare with."""
    return len(text) <= 36 and text.isascii() and text.isprintable()
