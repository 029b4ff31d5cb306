"""Cursors: where the next page of a list begins, as a text that only this code reads.

A cursor holds the place of the last entry in the order of its list, and a mark of the query, so
that one of another order or filter is refused instead of skipping entries in silence.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math

from core.errors import InvalidRequest
from core.ids import may_be_id

MAX_CHARACTERS = 200
_MAX_ID = 2**63 - 1
_REMEDY = "send `next_after` of the page before, with the same filters and sort; or leave it out"

# By what a list is sorted, and the id, which orders what is equal.
Place = tuple[float, int | str]


def encode(query: str, place: Place) -> str:
    """`query` is whatever the order and the filters are written as."""
    content = json.dumps([_mark(query), *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decode(query: str, cursor: str) -> tuple[float, int]:
    """Of a list whose ids are numbers. Raises InvalidRequest."""
    key, last = _read(query, cursor)
    if type(last) is not int or not 0 <= last <= _MAX_ID:
        raise _damaged(cursor)
    return key, last


def decode_text(query: str, cursor: str) -> tuple[float, str]:
    """Of a list whose ids are texts. Raises InvalidRequest."""
    key, last = _read(query, cursor)
    if not isinstance(last, str) or not may_be_id(last):
        raise _damaged(cursor)
    return key, last


def _read(query: str, cursor: str) -> tuple[float, object]:
    try:
        padded = cursor[: MAX_CHARACTERS + 1] + "=" * (-len(cursor) % 4)
        content = json.loads(base64.b64decode(padded.encode(), b"-_", validate=True))
        mark, key, last = content
        is_whole = len(cursor) <= MAX_CHARACTERS and type(mark) is str
        if not is_whole or type(key) not in (int, float) or not math.isfinite(key):
            raise _damaged(cursor)
        key = float(key)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(cursor) from error
    if mark != _mark(query):
        raise InvalidRequest(f"`after` is of another sort or filter; {_REMEDY}")
    return key, last


def _damaged(cursor: str) -> InvalidRequest:
    return InvalidRequest(f"`after` is {cursor[:40]!r}, which is no cursor of this list; {_REMEDY}")


def _mark(query: str) -> str:
    return hashlib.sha256(query.encode(errors="surrogatepass")).hexdigest()[:12]
