"""The queue: what is in it, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from core.class_names import NONE_OF_THESE
from core.labelling import retractions
from core.models.references import References
from core.review.queue import pool
from core.review.queue.show import KINDS
from core.store import schema
from core.store.store import Store
from core.store.tables.audit import audit_events
from tests.core.review.queued import (
    BOTH,
    CAT,
    DOG,
    OTHER,
    Champion,
    label,
    label_many,
    publish,
    show,
    shown,
    wait,
)
from tests.support.analyses import Scored, analyse

pytestmark = pytest.mark.slow  # not in make check


@pytest.fixture(autouse=True)
def _versions(request: pytest.FixtureRequest) -> None:
    if "store" in request.fixturenames:
        publish(request.getfixturevalue("store"))


def test_most_doubtful_by_the_champion_is_first(store: Store) -> None:
    label_many(store)
    sure, unsure = wait(store, 1, CAT, margin=0.1), wait(store, 2, BOTH, margin=0.9)
    surer = wait(store, 3, OTHER, margin=0.2, version=3)
    assert shown(store) == [unsure, sure, surer]
    item = show(store).items[0]
    assert item.prediction is not None
    assert (item.prediction.version, item.prediction.label) == (2, "cat")
    assert item.prediction.margin == pytest.approx(0.183, abs=0.01)
    assert item.why == f"margin {item.prediction.margin:.2f}"


def test_prediction_without_a_usable_embedding_comes_after_by_its_own_margin(store: Store) -> None:
    ids = [
        wait(store, 1, CAT, version=3, margin=0.2),
        wait(store, 2, None, margin=0.1),
        wait(store, 3, (1, 0), margin=0.3),
        wait(store, 4, CAT),
    ]
    assert shown(store) == [ids[3], ids[1], ids[0], ids[2]]


def test_pretrained_champion_changes_no_score(store: Store) -> None:
    wait(store, 1, BOTH, margin=0.75)
    (item,) = show(store, champion=Champion(run_id=None)).items
    assert item.prediction is not None
    assert (item.prediction.version, item.prediction.margin) == (1, 0.75)


def test_image_is_shown_once_and_not_once_it_is_labelled(store: Store) -> None:
    wait(store, 1, CAT)
    newest, other = wait(store, 1, CAT, created_at=5.0), wait(store, 2, DOG)
    assert set(shown(store)) == {newest, other}
    example_id = label(store, 2, NONE_OF_THESE)
    assert shown(store) == [newest]
    assert show(store).num_waiting == 1
    with store.db.read() as conn:
        event = conn.execute(
            select(schema.labels.c.id).where(schema.labels.c.example_id == example_id)
        ).scalar_one()
    retractions.retract(store, event, who="ann", now=2.0)
    assert set(shown(store)) == {newest, other}


def test_image_that_is_not_kept_is_not_shown(store: Store) -> None:
    wait(store, 1, CAT, kept_bytes=None)
    shown_ = show(store)
    assert shown_.items == []
    assert "send images to /v1/predict" in (shown_.hint or "")


def test_copies_of_one_image_do_not_fill_the_pool(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_POOL", 3)
    other = wait(store, 1, CAT)
    for at in range(10, 30):
        copy = wait(store, 2, DOG, created_at=float(at))
    assert set(shown(store)) == {other, copy}
    monkeypatch.setattr(pool, "MAX_LABELLED", 15)
    assert shown(store) == [copy]


def test_few_labels_show_what_stands_for_most(store: Store) -> None:
    for number in range(1, 8):
        wait(store, number, (1, 0, 0, 0.05 * number))
    alone = wait(store, 8, (0, -1, 0, 0))
    first, second = show(store, limit=2).items
    assert first.prediction is not None
    assert second.prediction is not None
    assert first.why == "stands for 7 predictions"
    assert second.prediction.id == alone


def references(threshold: float = 0.5) -> References:
    """Of cats."""
    return References(
        np.eye(4, dtype=np.float32), np.array([CAT] * 5, np.float32), threshold=threshold
    )


def test_least_similar_is_first_among_the_unfamiliar(store: Store) -> None:
    wait(store, 1, CAT)
    some, most = wait(store, 2, (0.3, 1, 0, 0)), wait(store, 3, OTHER)
    said = wait(store, 4, None, unfamiliar=True)
    wait(store, 5, None, unfamiliar=False)
    champion = Champion(references=references())
    assert shown(store, "unfamiliar", champion=champion) == [most, some, said]
    first = show(store, "unfamiliar", champion=champion).items[0]
    assert first.why == "similarity 0.00, below 0.50"
    assert first.prediction is not None
    assert first.prediction.unfamiliar is True


def test_unfamiliar_queue_says_why_it_is_empty(store: Store) -> None:
    wait(store, 1, CAT)
    cannot = show(store, "unfamiliar").hint
    none = show(store, "unfamiliar", champion=Champion(references=references())).hint
    assert "version 2 cannot say" in (cannot or "")
    assert "none of the 1 predictions" in (none or "")


def test_least_probable_label_is_suspected_first(store: Store) -> None:
    ids = [label(store, number, "cat") for number in range(5)]
    scores = [0.2, 0.1, 0.9, 0.3, 0.05]
    scored = {
        example: Scored("cat" if score > 0.5 else "dog", score)
        for example, score in zip(ids, scores, strict=True)
    }
    found = analyse(store, scored)
    label(store, 3, "dog")  # since
    label(store, 4, "cat")  # confirmed, and since
    queue = show(store, "suspect", found=found)
    assert [item.example.id for item in queue.items if item.example] == [ids[1], ids[0]]
    assert queue.items[0].why == "its label has probability 0.10"
    assert queue.num_waiting == 4
    again = (replace(found[0], snapshot=found[0].snapshot + 2), found[1])
    queue = show(store, "suspect", found=again)
    assert [item.example.id for item in queue.items if item.example] == [ids[1], ids[0]]


def test_near_duplicates_among_suspects_are_shown_once(store: Store) -> None:
    first = label(store, 1)
    same = label(store, 2)
    with store.db.write() as conn:
        conn.execute(schema.examples.update().values(group_id="one"))
    found = analyse(store, {first: Scored("dog", 0.1), same: Scored("dog", 0.2)})
    (item,) = show(store, "suspect", found=found).items
    assert item.example is not None
    assert item.example.id == first
    assert show(store, "suspect", found=found, reviewer="bob").items == []


@pytest.mark.parametrize("by", KINDS)
def test_empty_home_has_an_empty_queue_that_says_what_to_do(store: Store, by) -> None:
    queue = show(store, by)
    assert (queue.items, queue.num_waiting) == ([], 0)
    assert queue.hint


def test_read_is_in_the_audit_without_what_was_shown(store: Store) -> None:
    wait(store, 1, CAT)
    show(store)
    with store.db.read() as conn:
        newest = select(audit_events).order_by(audit_events.c.id.desc()).limit(1)
        event = conn.execute(newest).one()
    assert (event.who, event.action, event.subject) == ("ann", "queue.read", "doubt")
    assert event.detail == {"count": 1}
