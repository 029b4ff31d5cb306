"""Cursors come back as they went, and what is none is refused."""

from __future__ import annotations

import base64
import json

import pytest

from core.errors import InvalidRequest
from core.review.listing import cursors


@pytest.mark.parametrize("place", [(0.0, 1), (-1.5, 2**63 - 1), (0.0333251953125, 0)])
def test_place_comes_back(place: tuple[float, int]) -> None:
    assert cursors.decode("q", cursors.encode("q", place)) == place
    assert len(cursors.encode("q", place)) <= cursors.MAX_CHARACTERS


def test_place_with_a_text_comes_back() -> None:
    place = (1e9 + 0.1, "0190f5fe-7c00-7a00-8000-000000000000")
    assert cursors.decode_text("q", cursors.encode("q", place)) == place


def test_cursor_of_another_query_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidRequest, match=r"another sort or filter; send `next_after`"):
        cursors.decode("other", cursors.encode("q", (0.0, 1)))


def written(*content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


MARK = json.loads(base64.b64decode(cursors.encode("q", (0.0, 1)) + "=="))[0]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "\0",
        "a" * 1000,
        "[" * 180,
        cursors.encode("q", (0.0, 1))[:-3],
        written(),
        written(MARK, 0),
        written(MARK, 0, -1),
        written(MARK, 0, 2**63),
        written(MARK, 0, 1.5),
        written(MARK, 0, True),
        written(MARK, 0, "a"),
        written(MARK, float("nan"), 1),
        written(MARK, float("inf"), 1),
        written(MARK, True, 1),
        written(MARK, 10**40, "x"),
        written(MARK, None, 1),
        written(None, 0, 1),
        base64.b64encode(b"[" * 60).decode(),
        base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_damaged_cursor_is_refused_with_the_remedy(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match=r"no cursor of this list; send `next_after`"):
        cursors.decode("q", cursor)


@pytest.mark.parametrize("last", [1, "\0", "a" * 37, "é", None])
def test_text_that_cannot_be_an_id_is_refused(last: object) -> None:
    with pytest.raises(InvalidRequest, match="no cursor of this list"):
        cursors.decode_text("q", written(MARK, 0, last))
