"""GET /v1/versions/{a}/diff/{b} and /v1/versions/{n}/confusion."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from core import audit
from core.errors import Overloaded
from core.registry import versions
from core.review.comparing import version_scores
from core.settings import Settings
from core.store import schema
from core.store.store import Store
from service.inference import version_scorer
from service.inference.serving_process import ServingProcess
from service.inference.version_scorer import VersionScorer
from tests.service import assert_problem
from tests.service.conftest import client_of
from tests.support import held_out as support
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`

CLASSES = ("cat", "dog", "fox")
DIFF = "/v1/versions/1/diff/2"
CONFUSION = "/v1/versions/2/confusion"


class Home:
    """Two versions of one backbone. The second takes cats for dogs, and so on."""

    def __init__(self, client: TestClient, store: Store) -> None:
        self.client = client
        self.store = store

    def label(self, axes: list[int], prefix: str = "a", num_embedded: int | None = None) -> None:
        """Label held-out images whose embeddings are along these axes, as version 1 does."""
        ids = support.add_examples(self.store, [CLASSES[axis] for axis in axes], prefix=prefix)
        embedded = list(zip(ids, axes, strict=True))[:num_embedded]
        support.embed(self.store, self.backbone, dict(embedded))

    @property
    def backbone(self) -> str:
        with self.store.db.read() as conn:
            return versions.get(conn, 1).backbone

    def diff(self, **query: Any) -> dict[str, Any]:
        response = self.client.get(DIFF, params=query)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body


@pytest.fixture
def home(settings: Settings, sqlite_store: Store) -> Iterator[Home]:
    for classes in (CLASSES, (*CLASSES[1:], CLASSES[0])):
        support.publish(sqlite_store, classes)
    tiny.activate(sqlite_store, 1)
    serving = ServingProcess.start(settings)
    with client_of(serving) as client:
        yield Home(client, sqlite_store)
    serving.stop()


def test_difference_has_accuracies_confusions_and_flips(home: Home) -> None:
    home.label([0, 0, 1, 2])
    found = home.diff()
    assert (found["before"], found["after"], found["judged"]) == (1, 2, 4)
    assert (found["not_embedded"], found["note"]) == (0, None)
    overall = found["overall"]
    assert (overall["judged"], overall["before"], overall["after"]) == (4, 1.0, 0.0)
    assert overall["change"] == -1.0
    assert -1.0 <= overall["interval"][0] < overall["interval"][1] < 0.0
    assert {name: pair["judged"] for name, pair in found["classes"].items()} == {
        **{"cat": 2, "dog": 1, "fox": 1}
    }
    matrices = found["confusion"]
    assert (matrices["names"], matrices["other"]) == (["cat", "dog", "fox"], None)
    assert matrices["before"] == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert matrices["after"] == [[0, 2, 0], [0, 0, 1], [1, 0, 0]]
    assert found["flips_total"] == len(found["flips"]) == 4
    flip = next(each for each in found["flips"] if each["label"] == "fox")
    assert (flip["before"], flip["after"], flip["mended"]) == ("fox", "cat", False)
    assert flip["image"].startswith("a0")
    fewer = home.diff(limit=1)
    assert (len(fewer["flips"]), fewer["flips_total"]) == (1, 4)


def test_confusion_of_one_version(home: Home) -> None:
    home.label([0, 0, 1])
    found = home.client.get(CONFUSION).json()
    assert (found["version"], found["judged"], found["accuracy"]) == (2, 3, 0.0)
    assert (found["names"], found["matrix"]) == (
        ["cat", "dog", "fox"],
        [[0, 2, 0], [0, 0, 1], [0, 0, 0]],
    )
    assert found["classes"] == {
        "cat": {"judged": 2, "right": 0},
        "dog": {"judged": 1, "right": 0},
    }
    assert found["interval"][0] == 0.0


def test_home_without_held_out_examples_says_why_nothing_is_judged(home: Home) -> None:
    found = home.diff()
    assert (found["judged"], found["flips"], found["confusion"]["names"]) == (0, [], [])
    assert "one in five" in found["note"]
    found = home.client.get(CONFUSION).json()
    assert (found["judged"], found["accuracy"], found["interval"]) == (0, 0.0, [0.0, 1.0])
    assert "one in five" in found["note"]


def test_unchanged_answer_is_304_until_a_label_comes(home: Home) -> None:
    home.label([0, 1])
    for path in (DIFF, CONFUSION):
        first = home.client.get(path)
        have = {"If-None-Match": first.headers["ETag"]}
        same = home.client.get(path, headers=have)
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["ETag"] == first.headers["ETag"]
        assert home.client.get(f"{DIFF}?limit=7", headers=have).status_code == 200
    home.label([2], prefix="b")
    again = home.client.get(DIFF, headers=have)
    assert (again.status_code, again.json()["judged"]) == (200, 3)


def test_missing_embeddings_are_counted_until_they_are_there(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_scorer, "_INCOMPLETE_FOR_S", 0.0)
    home.label([0, 1, 2], num_embedded=1)
    response = home.client.get(DIFF)
    assert (response.json()["judged"], response.json()["not_embedded"]) == (1, 2)
    assert "`evergreen versions diff 1 2` computes them" in response.json()["note"]
    assert "ETag" not in response.headers
    support.embed(home.store, home.backbone, {2: 1, 3: 2})
    response = home.client.get(DIFF)
    assert (response.json()["judged"], response.json()["not_embedded"]) == (3, 0)
    assert "ETag" in response.headers


def test_unknown_and_retired_versions_are_named(home: Home) -> None:
    home.label([0])
    for path in ("/v1/versions/1/diff/9", "/v1/versions/9/diff/1", "/v1/versions/9/confusion"):
        assert_problem.problem(home.client.get(path), 404, "unknown-version", "version 9")
    for path in ("/v1/versions/x/diff/1", "/v1/versions/x/confusion", f"{DIFF}?limit=1001"):
        assert_problem.problem(home.client.get(path), 422, "invalid-request")
    with home.store.db.write() as conn:
        table = schema.versions
        conn.execute(update(table).where(table.c.number == 2).values(retired_at=5.0))
        head = versions.get(conn, 2).head
    assert home.diff()["judged"] == 1
    home.label([1], prefix="b")  # not what is kept of it
    home.store.blobs.delete(head)
    assert_problem.problem(home.client.get(CONFUSION), 409, "version-retired", "version 2")
    assert_problem.problem(home.client.get(DIFF), 409, "version-retired", "version 2")


def test_erased_example_is_in_no_flip(home: Home) -> None:
    home.label([0, 1])
    assert len(home.diff()["flips"]) == 2
    assert home.client.delete("/v1/examples/1").status_code == 200
    found = home.diff()
    assert [flip["example_id"] for flip in found["flips"]] == [2]
    assert found["judged"] == 1


def test_comparison_is_an_event_and_a_confusion_is_none(home: Home) -> None:
    home.label([0, 1])
    home.diff(limit=1)
    home.client.get(CONFUSION)
    with home.store.db.read() as conn:
        events = audit.listing(conn, limit=5)
    assert [(each.action, each.subject) for each in events][:1] == [
        ("versions.compared", "versions 1 and 2")
    ]
    assert events[0].detail == {"count": 1}


def test_second_comparison_waits_and_too_many_are_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.label([0])
    go_on = threading.Event()
    score = version_scores.score

    def slow(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(10)
        return score(*arguments, **options)

    monkeypatch.setattr(version_scores, "score", slow)
    monkeypatch.setattr(version_scorer, "PATIENCE_S", 0.05)
    response = home.client.get(DIFF)
    assert_problem.problem(response, 503, "overloaded", "comparing", "try again")
    assert response.headers["Retry-After"] == "1"
    scorer = VersionScorer(home.store, home.client.app.state.serving.runtime)  # type: ignore[attr-defined]

    async def ask() -> list[object]:
        return await asyncio.gather(*(scorer.scores([1]) for _ in range(6)), return_exceptions=True)

    assert all(isinstance(each, Overloaded) for each in asyncio.run(ask()))
    go_on.set()
    monkeypatch.setattr(version_scorer, "PATIENCE_S", 10.0)
    assert home.diff()["judged"] == 1  # the first one's work was not in vain


def test_scores_of_the_same_labels_are_computed_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.label([0, 1])
    computed: list[int] = []
    score = version_scores.score

    def counted(store: Store, number: int, *arguments: Any) -> Any:
        computed.append(number)
        return score(store, number, *arguments)

    monkeypatch.setattr(version_scores, "score", counted)
    for path in (DIFF, DIFF, CONFUSION, "/v1/versions/2/diff/1"):
        assert home.client.get(path).status_code == 200
    assert computed == [1, 2]
    home.label([2], prefix="b")
    home.diff()
    assert computed == [1, 2, 1, 2]
