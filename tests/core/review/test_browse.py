"""Lists of examples: what a filter takes, in which order, and page after page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert

from core.class_names import NONE_OF_THESE
from core.errors import InvalidLabel, InvalidRequest, UnknownClass
from core.labelling import blanking, classes, labels, retractions
from core.review.items import Found
from core.review.listing import browse, pages
from core.review.listing.browse import ExampleFilter, list_examples
from core.store.schema import examples
from core.store.store import Store
from tests.core.rows import EXAMPLE
from tests.support.analyses import Scored, analyse

pytestmark = pytest.mark.slow  # not in make check

NAMES = ("cat", "dog", "cat", "dog", "cat", "bird", "cat", "dog")


def add(store: Store, name: str, **values: Any) -> int:
    """Add a labelled example. Returns its id."""
    with store.db.write() as conn:
        number = len(conn.scalars(examples.select()).all()) + 1
        defaults = {"id": number, "image": f"{number:064x}", "created_at": 1000.0 * number}
        conn.execute(insert(examples).values({**EXAMPLE, **defaults, **values}))
        give(store, number, name, conn)
    return number


def give(store: Store, example_id: int, name: str, conn: Any = None) -> None:
    if conn is None:
        with store.db.write() as opened:
            return give(store, example_id, name, opened)
    stored = classes.join(conn, name)
    labels.append(conn, example_id=example_id, label=stored, now=9.0, who="ann")
    return None


@pytest.fixture
def filled(store: Store) -> Store:
    """Eight examples; the fourth and the eighth are held out, and odd ones were imported."""
    for i, name in enumerate(NAMES, 1):
        add(store, name, is_held_out=i % 4 == 0, source="import" if i % 2 else "feedback")
    return store


def listed(store: Store, found: Found | None = None, /, **query: Any) -> list[int]:
    """The ids of all pages."""
    return [number for page in pages_of(store, found, **query) for number in page]


def pages_of(store: Store, found: Found | None = None, /, **query: Any) -> Iterator[list[int]]:
    options = {name: query.pop(name) for name in ("sort", "limit") if name in query}
    after = None
    while True:
        with store.db.read() as conn:
            page = list_examples(conn, ExampleFilter(**query), found, after=after, **options)
        yield [item.id for item in page.items]
        after = page.next_after
        if after is None:
            return


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, [8, 7, 6, 5, 4, 3, 2, 1]),
        ({"sort": "oldest"}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"class_name": " CAT "}, [7, 5, 3, 1]),
        ({"class_name": "dog", "sort": "oldest"}, [2, 4, 8]),
        ({"class_name": "dog", "held_out": True}, [8, 4]),
        ({"held_out": False, "source": "feedback"}, [6, 2]),
        ({"source": "import"}, [7, 5, 3, 1]),
        ({"since": 3000.0, "until": 5000.0}, [5, 4, 3]),
        ({"since": 3000.1}, [8, 7, 6, 5, 4]),
        ({"until": 0.0}, []),
        ({"class_name": NONE_OF_THESE.upper()}, []),
    ],
)
@pytest.mark.parametrize("limit", [2, 100])
def test_list_has_what_matches_in_order(
    filled: Store, query: dict[str, Any], ids: list[int], limit: int
) -> None:
    assert listed(filled, limit=limit, **query) == ids


def test_page_has_no_cursor_behind_its_last_example(filled: Store) -> None:
    assert list(pages_of(filled, limit=4)) == [[8, 7, 6, 5], [4, 3, 2, 1]]
    assert list(pages_of(filled, limit=8)) == [[8, 7, 6, 5, 4, 3, 2, 1]]


def test_empty_home_lists_nothing(store: Store) -> None:
    assert list(pages_of(store)) == list(pages_of(store, labelled=False)) == [[]]


def test_page_may_be_short_where_little_matches(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_ROWS", 3)
    assert list(pages_of(filled, class_name="cat", source="feedback", limit=1)) == [[], []]
    query = {"source": "feedback", "held_out": False}
    assert list(pages_of(filled, limit=1, **query)) == [[6], [2]]


def test_unknown_class_is_refused_with_those_there_are(filled: Store) -> None:
    with pytest.raises(UnknownClass, match=r"'cow' has no examples; there are 'bird', 'cat'"):
        listed(filled, class_name="cow")
    with pytest.raises(InvalidLabel, match="empty"):
        listed(filled, class_name=" ")


def test_unlabelled_list_has_those_whose_labels_were_all_retracted(filled: Store) -> None:
    give(filled, 5, "dog")  # events 5 and 9
    for event in (9, 2, 5, 7, 3):
        retractions.retract(filled, event, who="ann", now=2.0)
    give(filled, 3, "cat")
    with filled.db.write() as conn:  # erased
        blanking.retract_all(conn, 1, who="ann", now=2.0)
        blanking.blank(conn, 1)
    assert listed(filled, labelled=False, limit=1) == [5, 7, 2]
    assert listed(filled, labelled=False, sort="oldest") == [2, 7, 5]
    assert listed(filled, labelled=False, source="feedback") == [2]
    assert 5 not in listed(filled)
    for query in ({"class_name": "cat"}, {"agrees": True}, {"suspected": False}):
        with pytest.raises(InvalidRequest, match="`labelled` is false"):
            listed(filled, labelled=False, **query)


@pytest.fixture
def analysed(filled: Store) -> Found:
    return analyse(
        filled,
        {
            1: Scored("dog", 0.25, 0.75),
            2: Scored("cat", 0.125, 0.5, True),
            3: Scored("cat", 0.875, 0.25, True),
            4: Scored("bird", 0.25, 0.5, True),
            5: Scored("cat", 0.5, 0.875),
            6: Scored("cat", 0.0, 0.125, True),
        },
    )


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"sort": "suspicion"}, [6, 2, 1, 4, 5, 3]),
        ({"sort": "similarity"}, [6, 3, 2, 4, 1, 5]),
        ({"sort": "suspicion", "suspected": True, "class_name": "dog"}, [2, 4]),
        ({"suspected": True}, [6, 4, 2, 1]),
        ({"suspected": False}, [5, 3]),
        ({"suspected": True, "held_out": True}, [4]),
        ({"agrees": True}, [5, 3]),
        ({"agrees": False, "sort": "oldest"}, [1, 2, 4, 6]),
        ({"agrees": False, "class_name": "cat"}, [1]),
        ({"unfamiliar": True, "since": 3000.0}, [6, 4, 3]),
        ({"unfamiliar": False}, [5, 1]),
        ({"sort": "similarity", "unfamiliar": True, "source": "import"}, [3]),
        ({"sort": "similarity", "until": 2000.0}, [2, 1]),
    ],
)
@pytest.mark.parametrize("limit", [1, 100])
def test_analysis_is_a_filter_and_an_order(
    filled: Store, analysed: Found, query: dict[str, Any], ids: list[int], limit: int
) -> None:
    assert listed(filled, analysed, limit=limit, **query) == ids


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("max_changed", [1, 100])
def test_label_of_after_the_analysis_agrees_or_not_and_is_not_suspected(
    filled: Store, analysed: Found, limit: int, max_changed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "MAX_CHANGED", max_changed)
    give(filled, 1, "dog")  # as predicted
    give(filled, 3, "bird")
    add(filled, "cat")  # the analysis does not know it
    assert listed(filled, analysed, agrees=True, limit=limit) == [5, 1]
    assert listed(filled, analysed, agrees=False, class_name="bird", limit=limit) == [6, 3]
    assert listed(filled, analysed, agrees=True, class_name="dog", limit=limit) == [1]
    assert listed(filled, analysed, sort="suspicion", limit=limit) == [6, 2, 4, 5]
    assert listed(filled, analysed, suspected=True, limit=limit) == [6, 4, 2]
    assert listed(filled, analysed, unfamiliar=True, class_name="bird", limit=limit) == [6, 3]


def test_without_an_analysis_what_needs_one_is_empty(filled: Store) -> None:
    for query in ({"agrees": True}, {"suspected": True}, {"unfamiliar": False}):
        assert listed(filled, **query) == []
    assert listed(filled, sort="suspicion") == []
    assert len(listed(filled)) == 8


def test_erased_example_leaves_lists_by_an_analysis(filled: Store, analysed: Found) -> None:
    with filled.db.write() as conn:
        blanking.retract_all(conn, 2, who="ann", now=2.0)
        blanking.blank(conn, 2)
    assert listed(filled, analysed, sort="similarity", limit=1) == [6, 3, 4, 1, 5]
    assert listed(filled, analysed, unfamiliar=True) == [6, 4, 3]
