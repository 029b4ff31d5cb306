from __future__ import annotations

import logging
import time
from itertools import count

import pytest

from core import predictions
from core.ids import new_id
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.predictions import Prediction
from core.registry import activations, promotions, versions
from core.registry.latest import LatestPoller
from core.shadows import answers
from core.shadows.answers import ShadowAnswer
from core.store.store import Store
from tests.support import images, tiny
from training.worker.self_healing import SelfHealing

pytestmark = pytest.mark.slow  # not in `make check`

# Enough, if all of them go against the live version.
ENOUGH = 10

_seeds = count()


@pytest.fixture
def healing_store(store: Store) -> Store:
    """Version 3 is champion, after versions 2 and 1."""
    for number in (1, 2, 3):
        tiny.publish(store, tiny.make_manifest(store.blobs, head_seed=number))
        tiny.activate(store, number, now=time.time() - 100)
    return store


def answer(store: Store, live: int, before: int, *, is_right: bool, label: bool = True) -> None:
    """Predict a cat with both versions, one of them wrong, then label it."""
    digest = store.blobs.put(images.png(48, 48, next(_seeds)))
    primary, shadow = ("cat", "dog") if is_right else ("dog", "cat")
    row = Prediction(new_id(), digest, live, primary, 0.9, 0.8, time.time())
    predictions.add(store.db, [row])
    with store.db.write() as conn:
        answers.add(conn, [ShadowAnswer(row.id, before, shadow, live, False)], time.time())
    if label:
        request = LabelRequest("cat")
        intake.label_prediction(store, row.id, request, Limits(), time.time())


def check(healing: SelfHealing, store: Store, now: float) -> None:
    healing.check(now, LatestPoller(store.db).poll())


def check_and_advance(store: Store, healing: SelfHealing | None = None) -> promotions.Activation:
    """Check once, and carry out a rollback as where no worker is alive."""
    now = time.time()
    check(healing or SelfHealing(store), store, now)
    with store.db.write() as conn:
        promotions.advance(conn, now)
        newest = promotions.newest_activation(conn)
    assert newest is not None
    return newest


def test_version_whose_files_are_lost_is_not_rolled_back_to(
    healing_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=False)
    with healing_store.db.read() as conn:
        healing_store.blobs.delete(versions.get(conn, 2).head)
    with caplog.at_level(logging.WARNING):
        assert check_and_advance(healing_store).version == 3
    assert "healing.withheld" in caplog.text


def test_worse_version_gives_way_to_the_one_before_it_with_the_reason(
    healing_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=False)
    with caplog.at_level(logging.WARNING):
        newest = check_and_advance(healing_store)
    assert (newest.version, newest.who) == (2, promotions.SELF_HEALING)
    assert newest.why.startswith("rolled back automatically: of 10 inputs labelled since")
    assert "healing.rolled_back" in caplog.text
    with healing_store.db.read() as conn:
        assert activations.count_by(conn, promotions.SELF_HEALING) == 1


@pytest.mark.parametrize(("is_right", "label"), [(True, True), (False, False)])
def test_better_version_and_one_that_nobody_judged_stay(
    healing_store: Store, is_right: bool, label: bool
) -> None:
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=is_right, label=label)
    assert check_and_advance(healing_store).version == 3


def test_labels_of_other_versions_or_before_the_activation_do_not_count(
    healing_store: Store,
) -> None:
    for _ in range(ENOUGH):
        answer(healing_store, 2, 3, is_right=False)
        answer(healing_store, 3, 1, is_right=False)
        answer(healing_store, 3, 2, is_right=False)
    tiny.activate(healing_store, 2, now=time.time())
    tiny.activate(healing_store, 3, now=time.time())
    assert check_and_advance(healing_store).version == 3


def test_self_healing_never_oscillates(healing_store: Store) -> None:
    """A version that was left does not count as before the one that followed it."""
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=False)
    assert check_and_advance(healing_store).version == 2
    for _ in range(2 * ENOUGH):
        answer(healing_store, 2, 3, is_right=False)
    assert check_and_advance(healing_store).version == 2


def test_self_healing_may_roll_back_twice(healing_store: Store) -> None:
    for live, before in ((3, 2), (2, 1)):
        for _ in range(ENOUGH):
            answer(healing_store, live, before, is_right=False)
        assert check_and_advance(healing_store).version == before
    for _ in range(ENOUGH):
        answer(healing_store, 1, 2, is_right=False)
    assert check_and_advance(healing_store).version == 1  # there is none before it


def test_version_that_a_person_restores_is_tested_anew(healing_store: Store) -> None:
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=False)
    assert check_and_advance(healing_store).version == 2
    tiny.activate(healing_store, 3, now=time.time())
    assert check_and_advance(healing_store).version == 3  # its earlier labels do not count
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=False)
    assert check_and_advance(healing_store).version == 2


def test_waiting_request_comes_before_a_rollback(healing_store: Store) -> None:
    for _ in range(ENOUGH):
        answer(healing_store, 3, 2, is_right=False)
    number = tiny.publish(healing_store, tiny.make_manifest(healing_store.blobs))
    with healing_store.db.write() as conn:
        promotions.request(conn, number, who="test", why="test", now=time.time())
    healing = SelfHealing(healing_store)
    assert check_and_advance(healing_store, healing).version == number


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that outcomes were read. There are none to read."""
    times: list[int] = []
    monkeypatch.setattr(
        "training.worker.self_healing.RunningOutcomes.update", lambda *_: times.append(1)
    )
    return times


def test_outcomes_are_not_read_again_until_a_label_comes(
    healing_store: Store, reads: list[int]
) -> None:
    healing = SelfHealing(healing_store)
    for seconds in range(5):
        check(healing, healing_store, 1e10 + seconds)
    assert len(reads) == 1
    answer(healing_store, 3, 2, is_right=True)
    for hundredths in range(5):
        check(healing, healing_store, 1e10 + 10 + hundredths / 100)
    assert len(reads) == 2


def test_outcomes_are_not_read_without_a_label_since_the_activation(
    healing_store: Store, reads: list[int]
) -> None:
    healing = SelfHealing(healing_store)
    answer(healing_store, 3, 2, is_right=False)
    moment = time.time() + 100
    tiny.activate(healing_store, 3, now=moment)
    check(healing, healing_store, moment - 1)
    check(healing, healing_store, moment + 1)
    assert reads == []
    answer(healing_store, 3, 2, is_right=False)
    check(healing, healing_store, moment + 2)
    assert reads == [1]


def test_withheld_rollback_is_logged_once(
    healing_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with healing_store.db.write() as conn:  # many on which both agree, and none of them labelled
        rows = [ShadowAnswer(new_id(), 2, "cat", 3, True) for _ in range(500)]
        answers.add(conn, rows, time.time())
    healing = SelfHealing(healing_store)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            for _ in range(ENOUGH):
                answer(healing_store, 3, 2, is_right=False)
            check(healing, healing_store, time.time() + step)
    assert check_and_advance(healing_store, healing).version == 3
    assert [r.message for r in caplog.records].count("healing.withheld") == 1
