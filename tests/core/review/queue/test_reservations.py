"""Whom the queue is shown."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import select

from core.review.queue import reservations
from core.store.store import Store
from tests.core.review.queued import (
    CAT,
    DOG,
    FOURTH,
    OTHER,
    label,
    label_many,
    publish,
    show,
    shown,
    wait,
)

pytestmark = pytest.mark.slow  # not in make check


@pytest.fixture(autouse=True)
def _versions(store: Store) -> None:
    publish(store)


def test_near_duplicates_are_not_shown_together_nor_to_two_people(store: Store) -> None:
    ids = {wait(store, number, (1, 0.01 * number, 0, 0)) for number in range(1, 5)}
    other = wait(store, 5, OTHER)
    of_ann = set(shown(store, reviewer="ann"))
    assert len(of_ann) == 2
    assert other in of_ann
    of_bob = show(store, reviewer="bob")
    assert of_bob.items == []
    assert "others were shown" in (of_bob.hint or "")
    assert ids > of_ann - {other}


def test_reviewer_gets_the_same_again_and_others_get_the_rest(store: Store) -> None:
    directions = (CAT, DOG, OTHER, FOURTH)
    ids = [wait(store, number, each) for number, each in enumerate(directions)]
    of_ann = shown(store, limit=2, reviewer="ann")
    assert set(shown(store, limit=2, reviewer="ann")) == set(of_ann)
    of_bob = shown(store, limit=4, reviewer="bob")
    assert sorted(of_ann + of_bob) == sorted(ids)


def test_reviewer_gets_the_same_until_it_is_labelled_whatever_comes_in_between(
    store: Store,
) -> None:
    label_many(store)
    first = {wait(store, number, each, version=2) for number, each in enumerate((CAT, DOG))}
    assert set(shown(store, limit=2)) == first
    better = {
        wait(store, number, each, version=2, margin=0.01)
        for number, each in enumerate((OTHER, FOURTH), 5)
    }
    assert set(shown(store, limit=2)) == first
    label(store, 0)
    after = set(shown(store, limit=2))
    assert len(after & first) == len(after & better) == 1


def test_reservation_ends_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "RESERVED_S", 0.0)
    only = wait(store, 1, CAT)
    assert shown(store, reviewer="ann") == shown(store, reviewer="bob") == [only]
    with store.db.read() as conn:
        rows = conn.execute(select(reservations.reservations)).all()
    assert [row.reviewer for row in rows] == ["bob"]


def test_two_reviewers_at_one_moment_never_get_the_same(store: Store) -> None:
    rng = np.random.default_rng(0)
    num_each, num_reviewers = 4, 5
    for number in range(num_each * num_reviewers):
        wait(store, number, rng.standard_normal(4).tolist())
    found: list[str] = []
    begin = threading.Barrier(num_reviewers)

    def review(name: str) -> None:
        begin.wait()
        found.extend(shown(store, limit=num_each, reviewer=name))

    threads = [threading.Thread(target=review, args=(str(i),)) for i in range(num_reviewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) > num_each
