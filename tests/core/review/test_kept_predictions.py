"""Lists of predictions whose images are kept and have no label."""

from __future__ import annotations

from typing import Any

import pytest

from core import predictions
from core.errors import InvalidLabel, InvalidRequest
from core.predictions import Prediction
from core.review.listing import pages
from core.review.listing.kept_predictions import PredictionFilter, list_predictions
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.labelled_store import IMAGE, label

pytestmark = pytest.mark.slow  # not in make check


def add(store: Store, number: int, **values: Any) -> str:
    fields = {
        "id": f"{number:036}",
        "image": f"{number:064x}",
        "version": 1,
        "label": "cat",
        "confidence": 0.6,
        "margin": 0.2,
        "created_at": float(number),
        "kept_bytes": 9,
        "embedding": b"\\1\\2",
    }
    prediction = Prediction(**{**fields, **values})
    predictions.add(store.db, [prediction])
    return prediction.id


def pages_of(store: Store, limit: int = 100, **query: Any) -> list[list[int]]:
    found, after = [], None
    while True:
        with store.db.read() as conn:
            page = list_predictions(conn, PredictionFilter(**query), limit=limit, after=after)
        found.append([int(each.id) for each in page.predictions])
        after = page.next_after
        if after is None:
            return found


def listed(store: Store, **query: Any) -> list[int]:
    return [number for page in pages_of(store, **query) for number in page]


@pytest.fixture
def filled(store: Store) -> Store:
    """Of the kept ones without a label, the second and the third were made at one moment."""
    add(store, 1, label="Dog", version=2, unfamiliar=True)
    add(store, 2, unfamiliar=False)
    add(store, 3, created_at=2.0)
    add(store, 4, kept_bytes=None, capture="swept")
    add(store, 5, image=sha256(IMAGE))
    add(store, 6)
    label(store, image=IMAGE)
    return store


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, [6, 3, 2, 1]),
        ({"label": "dog"}, [1]),
        ({"label": "cow"}, []),
        ({"version": 2}, [1]),
        ({"unfamiliar": True}, [1]),
        ({"unfamiliar": False}, [2]),
        ({"since": 2.0, "until": 5.0}, [3, 2]),
        ({"until": 0.5}, []),
    ],
)
def test_list_has_what_is_kept_and_has_no_label_newest_first(
    filled: Store, query: dict[str, Any], ids: list[int], limit: int
) -> None:
    assert listed(filled, limit=limit, **query) == ids


def test_page_may_be_short_where_little_matches(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_ROWS", 2)
    assert pages_of(filled, 1, version=2) == [[], [], [1]]


def test_image_that_was_labelled_is_no_longer_listed(filled: Store) -> None:
    assert listed(filled) == [6, 3, 2, 1]
    add(filled, 7, image=sha256(IMAGE))
    assert listed(filled) == [6, 3, 2, 1]


def test_cursor_is_of_its_query(filled: Store) -> None:
    with filled.db.read() as conn:
        after = list_predictions(conn, PredictionFilter(), limit=1).next_after
        with pytest.raises(InvalidRequest, match="another sort or filter"):
            list_predictions(conn, PredictionFilter(version=1), after=after)
        with pytest.raises(InvalidLabel):
            list_predictions(conn, PredictionFilter(label=" "))
