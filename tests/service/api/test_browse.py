"""GET /v1/examples and GET /v1/predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.service.client import label_image, label_prediction, new_image, predict
from tests.service.conftest import client_of, settings_in
from tests.support.analyses import Scored, analyse

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Examples 1 to 4 are a cat, a dog, a cat and a dog; three predictions have no label."""
    settings: Settings = settings_in(tmp_path_factory.mktemp("browse"))
    started: ServingProcess = trained_home.start_with_the_starter(settings)
    with client_of(started) as client:
        empty = client.get("/v1/examples").json()
        assert empty == {"examples": [], "next_after": None, "analysis": None}
        for name in ("cat", "dog", "cat"):
            label_image(client, new_image(), name)
        label_prediction(client, predict(client), "dog")
        for _ in range(3):
            predict(client)
        scored = {1: Scored("dog", 0.25, 0.5, True), 2: Scored("dog", 0.75, 0.875)}
        analyse(started.store, scored)
        yield client
    started.stop()


def get(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    response = client.get(path, params={k: v for k, v in query.items() if v is not None})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def ids(client: TestClient, **query: Any) -> list[int]:
    return [each["id"] for each in get(client, "/v1/examples", **query)["examples"]]


def test_examples_are_listed_with_what_is_known(filled: TestClient) -> None:
    body = get(filled, "/v1/examples")
    assert [each["id"] for each in body["examples"]] == [4, 3, 2, 1]
    assert (body["next_after"], body["analysis"]["version"]) == (None, 1)
    assert body["analysis"]["at"].endswith("Z")
    first = body["examples"][-1]
    assert len(first.pop("image")) == 64
    assert first.pop("created_at").endswith("Z")
    assert first.pop("labelled_at").endswith("Z")
    assert first == {
        "id": 1,
        "excerpt": None,
        "label": "cat",
        "held_out": False,
        "source": "feedback",
        "predicted": "dog",
        "label_probability": 0.25,
        "unfamiliar": True,
        "width": 48,
        "height": 48,
    }
    unknown = body["examples"][0]
    assert (unknown["predicted"], unknown["label_probability"]) == (None, None)
    assert unknown["unfamiliar"] is None


def test_filters_and_sorts_hold_over_pages(filled: TestClient) -> None:
    assert ids(filled, **{"class": "CAT", "sort": "oldest"}) == [1, 3]
    assert ids(filled, source="prediction") == [4]
    assert ids(filled, held_out="true") == []
    assert ids(filled, agrees="false") == ids(filled, suspected="true") == [1]
    assert ids(filled, unfamiliar="true") == [1]
    assert ids(filled, sort="similarity") == ids(filled, sort="suspicion") == [1, 2]
    assert ids(filled, labelled="false") == []
    seen, after = [], None
    while True:
        page = get(filled, "/v1/examples", limit=1, after=after, **{"class": "dog"})
        seen += [each["id"] for each in page["examples"]]
        after = page["next_after"]
        if after is None:
            break
    assert seen == [4, 2]


def test_times_have_an_offset_and_a_plus_may_be_a_space(filled: TestClient) -> None:
    assert ids(filled, since="2000-01-01 00:00:00+02:00", until="9999-01-01T00:00Z") == [4, 3, 2, 1]
    response = filled.get("/v1/examples?since=2000-01-01T00:00:00+02:00")
    assert len(response.json()["examples"]) == 4
    assert ids(filled, until="2000-01-01T00:00Z") == []
    naive = filled.get("/v1/examples?since=2000-01-01T00:00:00")
    assert_problem.problem(naive, 422, "invalid-request", "since", "timezone")


@pytest.mark.parametrize(
    ("query", "code", "part"),
    [
        ("class=%20", "invalid-label", "empty"),
        ("class=%00", "invalid-label", "control character"),
        ("sort=size", "invalid-request", "'similarity'"),
        ("source=web", "invalid-request", "'import'"),
        ("limit=0", "invalid-request", "limit"),
        ("limit=1001", "invalid-request", "1000"),
        ("after=x", "invalid-request", "send `next_after` of the page before"),
        ("labelled=false&agrees=true", "invalid-request", "leave out"),
        ("label=cat", "invalid-request", "unknown parameters"),
        ("since=yesterday", "invalid-request", "such as 2026-12-01T08:00:00Z"),
        ("since=0", "invalid-request", "such as 2026-12-01T08:00:00Z"),
        ("since=2026-13-01T00:00Z", "invalid-request", "month"),
        ("held_out=1", "invalid-request", "send true or false"),
        ("suspected=1", "invalid-request", "send true or false"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(
    filled: TestClient, query: str, code: str, part: str
) -> None:
    assert_problem.problem(filled.get(f"/v1/examples?{query}"), 422, code, part)


def test_unknown_class_is_not_found(filled: TestClient) -> None:
    answer = filled.get("/v1/examples?class=cow")
    text = "'cow' has no examples; there are 'cat', 'dog'"
    assert_problem.problem(answer, 404, "unknown-class", text)


def test_cursor_of_another_order_is_refused(filled: TestClient) -> None:
    after = get(filled, "/v1/examples", limit=1)["next_after"]
    for query in ({"sort": "oldest"}, {"class": "cat"}, {"labelled": "false"}):
        other = filled.get("/v1/examples", params={"after": after, **query})
        assert_problem.problem(other, 422, "invalid-request", "another sort or filter")
    other = filled.get("/v1/predictions", params={"after": after})
    assert_problem.problem(other, 422, "invalid-request", "`next_after`")


def test_predictions_without_a_label_are_listed_newest_first(filled: TestClient) -> None:
    body = get(filled, "/v1/predictions", limit=2)
    rest = get(filled, "/v1/predictions", limit=2, after=body["next_after"])
    every = body["predictions"] + rest["predictions"]
    assert (len(every), rest["next_after"]) == (3, None)
    times = [each["created_at"] for each in every]
    assert times == sorted(times, reverse=True)
    assert every[0].keys() == {
        *("id", "image", "excerpt", "version", "label"),
        *("confidence", "margin", "unfamiliar", "created_at"),
    }
    assert get(filled, "/v1/predictions", version=2)["predictions"] == []
    label = every[0]["label"]
    assert every[0] in get(filled, "/v1/predictions", label=label.upper())["predictions"]
    assert get(filled, "/v1/predictions", since="9999-01-01T00:00Z")["predictions"] == []


@pytest.mark.parametrize("query", ["version=0", "version=2147483648", "label=%20", "unfamiliar=x"])
def test_what_no_prediction_can_have_is_refused(filled: TestClient, query: str) -> None:
    assert filled.get(f"/v1/predictions?{query}").status_code == 422


def test_detail_has_what_a_reviewer_needs(filled: TestClient) -> None:
    body = get(filled, "/v1/examples/1")
    assert (body["predicted"], body["label_probability"], body["unfamiliar"]) == ("dog", 0.25, True)
    assert (body["thumbnail_width"], body["thumbnail_height"]) == (48, 48)
    assert (body["image_problem"], body["analysis"]["version"]) == (None, 1)
    assert get(filled, "/v1/examples/4")["labels"][0]["prediction_id"] is not None


def test_damaged_analysis_is_no_analysis(fresh: TestClient) -> None:
    label_image(fresh, new_image(), "cat")
    store = fresh.app.state.serving.store  # type: ignore[attr-defined]
    row, _ = analyse(store, {1: Scored("dog", 0.25)})
    store.blobs.delete(row.digest)
    body = get(fresh, "/v1/examples", suspected="true")
    assert body == {"examples": [], "next_after": None, "analysis": None}
    assert ids(fresh) == [1]
