from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import insert

from core import predictions
from core.ids import new_id
from core.inputs.kind import Limits
from core.labelling import intake, labels, retractions
from core.labelling.intake import IntakeResult, LabelRequest
from core.predictions import Prediction
from core.shadows import answers, outcomes
from core.shadows.answers import ShadowAnswer, Tally
from core.shadows.outcomes import Outcome, RunningOutcomes, Score
from core.store.store import Store
from core.store.tables.review import label_batches
from tests.support import images

LIVE, SHADOW = 2, 1
RIGHT_WRONG = Outcome(is_right=True, is_shadow_right=False, agrees=False)
WRONG_RIGHT = Outcome(is_right=False, is_shadow_right=True, agrees=False)
BOTH_RIGHT = Outcome(is_right=True, is_shadow_right=True, agrees=True)


def predict(
    store: Store, primary: str, shadow: str, *, seed: int = 0, live: int = LIVE, at: float = 0.0
) -> str:
    """Store an answer of the live version and one of the shadow. Returns the prediction's id."""
    digest = store.blobs.put(images.png(48, 48, seed))
    now = at or time.time()
    row = Prediction(new_id(), digest, live, primary, 0.9, 0.8, now)
    predictions.add(store.db, [row])
    with store.db.write() as conn:
        answers.add(conn, [ShadowAnswer(row.id, SHADOW, shadow, live, primary == shadow)], now)
    return row.id


def label(store: Store, prediction_id: str, name: str) -> IntakeResult:
    request = LabelRequest(name)
    return intake.label_prediction(store, prediction_id, request, Limits(), time.time())


def read(store: Store, after: int = 0, since: float = 0.0) -> list[Outcome]:
    running = RunningOutcomes(SHADOW, after=after, champion=LIVE, since=since)
    with store.db.read() as conn:
        running.update(conn)
        if since:
            return list(running.counts.elements())
        recent = outcomes.recent(conn, SHADOW, after=after, champion=LIVE)
    assert Counter(recent) == running.counts
    return recent


def test_label_tells_who_was_right(store: Store) -> None:
    for seed, name in enumerate(("cat", "dog", "cow")):
        label(store, predict(store, "cat", "dog", seed=seed), name)
    label(store, predict(store, "cat", "cat", seed=3), "cat")
    assert read(store) == [RIGHT_WRONG, WRONG_RIGHT, Outcome(False, False, False), BOTH_RIGHT]


def test_prediction_without_a_label_has_no_outcome(store: Store) -> None:
    predict(store, "cat", "dog")
    assert read(store) == []


def test_changed_label_counts_as_it_is_now(store: Store) -> None:
    prediction_id = predict(store, "cat", "dog")
    label(store, prediction_id, "cat")
    assert read(store) == [RIGHT_WRONG]
    label(store, prediction_id, "dog")
    assert read(store) == [WRONG_RIGHT]


def test_label_of_the_image_itself_changes_the_outcome(store: Store) -> None:
    label(store, predict(store, "cat", "dog"), "cat")
    request = LabelRequest("dog")
    intake.label_image(store, images.png(48, 48, 0), request, Limits(), time.time())
    assert read(store) == [WRONG_RIGHT]


@pytest.mark.parametrize("name", ["none of these", "None of these"])
def test_image_that_is_none_of_these_does_not_count(store: Store, name: str) -> None:
    label(store, predict(store, "cat", "dog"), name)
    assert read(store) == []


@pytest.mark.parametrize(("kind", "counts"), [("rename", 0), ("merge", 0), ("feedback", 1)])
def test_label_that_comes_from_a_change_of_class_does_not_count(
    store: Store, kind: str, counts: int
) -> None:
    event = label(store, predict(store, "cat", "dog"), "cat").event
    with store.db.write() as conn:
        values = {"id": 7, "kind": kind, "who": "ann", "detail": {}, "created_at": 1.0}
        conn.execute(insert(label_batches).values(values))
        labels.append(conn, example_id=event.example_id, label="dog", now=time.time(), batch_id=7)
    assert read(store) == [WRONG_RIGHT] * counts


def test_retracted_label_does_not_count(store: Store) -> None:
    prediction_id = predict(store, "cat", "dog")
    first = label(store, prediction_id, "cat")
    second = label(store, prediction_id, "dog")
    retractions.retract(store, second.event.id, who="test", now=time.time())
    assert read(store) == [RIGHT_WRONG]
    retractions.retract(store, first.event.id, who="test", now=time.time())
    assert read(store) == []


def test_image_labelled_before_the_prediction_does_not_count(
    store: Store,
) -> None:
    request = LabelRequest("dog")
    intake.label_image(store, images.png(48, 48, 0), request, Limits(), time.time() - 10)
    label(store, predict(store, "cat", "dog"), "dog")
    assert read(store) == []


def test_image_that_is_sent_repeatedly_counts_once(store: Store) -> None:
    ids = [predict(store, "cat", "dog") for _ in range(5)]
    for prediction_id in ids:
        label(store, prediction_id, "dog")
    assert read(store) == [WRONG_RIGHT]


def test_outcomes_are_restricted_by_version_time_and_label(store: Store) -> None:
    label(store, predict(store, "cat", "dog", seed=1, live=3), "dog")
    label(store, predict(store, "cat", "dog", seed=2, at=100.0), "dog")
    newest = label(store, predict(store, "cat", "dog", seed=3), "cat")
    assert read(store, since=200.0) == [RIGHT_WRONG]
    assert read(store, after=newest.event.id) == []


def test_scores_are_counts() -> None:
    assert outcomes.score(Counter([RIGHT_WRONG, WRONG_RIGHT, BOTH_RIGHT])) == Score(3, 2, 2)
    assert outcomes.score(Counter()) == Score(0, 0, 0)


def test_tallies_add_up_by_version_and_champion(store: Store) -> None:
    for seed in range(3):
        predict(store, "cat", "dog" if seed else "cat", seed=seed)
    predict(store, "cat", "cat", seed=9, live=7)
    with store.db.read() as conn:
        assert answers.tally(conn, SHADOW) == Tally(SHADOW, 4, 2)
        assert answers.tally(conn, 99) == Tally(99, 0, 0)
        assert answers.recent_tallies(conn, LIVE, 4) == [Tally(SHADOW, 3, 1)]


@pytest.mark.parametrize("limit", [1, 2])
def test_tallies_of_the_versions_that_answered_last_come_first(store: Store, limit: int) -> None:
    with store.db.write() as conn:
        for version, now in ((5, 3.0), (6, 1.0), (7, 2.0)):
            answers.add(conn, [ShadowAnswer(new_id(), version, "x", LIVE, True)], now)
    with store.db.read() as conn:
        tallies = answers.recent_tallies(conn, LIVE, limit)
    assert [tally.version for tally in tallies] == [5, 7][:limit]


def test_running_outcomes_follow_what_is_labelled_anew_and_retracted(store: Store) -> None:
    running = RunningOutcomes(SHADOW, after=0, champion=LIVE, since=0.0)
    first, second = (predict(store, "cat", "dog", seed=seed) for seed in range(2))
    seen = []
    event = label(store, first, "cat").event
    steps: list[Callable[[], object]] = [
        lambda: label(store, second, "dog"),
        lambda: label(store, first, "dog"),
        lambda: retractions.retract(store, event.id, who="ann", now=1.0),
        lambda: label(store, second, "cow"),
    ]
    for step in (lambda: None, *steps):
        step()
        with store.db.read() as conn:
            running.update(conn)
            fresh = outcomes.recent(conn, SHADOW, after=0, champion=LIVE)
        assert +running.counts == Counter(fresh)
        seen.append(running.counts.total())
    assert seen == [1, 2, 2, 2, 2]


def test_running_outcomes_see_an_answer_that_is_written_after_the_label(store: Store) -> None:
    running = RunningOutcomes(SHADOW, after=0, champion=LIVE, since=0.0)
    row = Prediction(new_id(), store.blobs.put(images.png()), LIVE, "cat", 0.9, 0.8, time.time())
    predictions.add(store.db, [row])
    label(store, row.id, "cat")
    for late in (True, False):
        with store.db.read() as conn:
            running.update(conn)
        assert running.counts.total() == (0 if late else 1)
        if late:
            with store.db.write() as conn:
                answers.add(conn, [ShadowAnswer(row.id, SHADOW, "dog", LIVE, False)], 1.0)


def test_recent_outcomes_are_those_of_the_last_labels(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "RECENT_LABELS", 2)
    for seed, name in enumerate(("cat", "dog", "dog")):
        label(store, predict(store, "cat", "dog", seed=seed), name)
    intake.label_image(store, images.png(seed=9), LabelRequest("cat"), Limits(), time.time())
    with store.db.read() as conn:
        assert outcomes.recent(conn, SHADOW, after=0, champion=LIVE) == [WRONG_RIGHT, WRONG_RIGHT]
