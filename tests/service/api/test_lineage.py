from __future__ import annotations

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.service.client import JPEG
from tests.service.trained_home import tinted

pytestmark = pytest.mark.slow  # not in `make check`


def test_prediction_leads_to_its_version_its_run_and_its_labels(
    trained_client: TestClient,
) -> None:
    sent = trained_client.post("/v1/predict", content=tinted("red", 77), headers=JPEG)
    made = sent.json()
    path = f"/v1/predictions/{made['prediction_id']}"
    found = trained_client.get(path).json()
    assert {key: found[key] for key in ("label", "confidence", "unfamiliar")} == {
        key: made[key] for key in ("label", "confidence", "unfamiliar")
    }
    assert found["version"]["version"] == made["version"] == 2
    assert found["version"]["snapshot"] == 2 * trained_home.NUM_OF_EACH
    assert found["run"]["outcome"] == "promoted"
    assert found["run"]["version"] == 2
    assert (found["example_id"], found["labels"]) == (None, [])

    body = {"prediction_id": made["prediction_id"], "label": "red", "who": "ann"}
    given = trained_client.post("/v1/feedback", json=body).json()
    found = trained_client.get(path).json()
    assert found["example_id"] == given["example_id"]
    [event] = found["labels"]
    assert (event["label"], event["who"]) == ("red", "ann")
    trained_client.delete(f"/v1/feedback/{given['id']}")
    assert [event["label"] for event in trained_client.get(path).json()["labels"]] == ["red", None]


def test_example_leads_to_the_versions_that_saw_it(trained_client: TestClient) -> None:
    found = trained_client.get("/v1/examples/1").json()
    assert found["versions"] == [{"version": 2, "label": found["label"]}]
    assert found["labels"][0]["label"] == found["label"] == "red"
    assert trained_client.get("/v1/examples/1?before=2").json()["versions"] == []


def test_version_leads_to_its_examples(trained_client: TestClient) -> None:
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = trained_client.get(f"/v1/versions/2/examples?limit=7&after={after}").json()
        seen += [example["example_id"] for example in page["examples"]]
        after = page["next_after"]
    assert len(seen) == len(set(seen)) == 2 * trained_home.NUM_OF_EACH
    assert trained_client.get("/v1/versions/1/examples").json()["examples"] == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/predictions/x", "unknown-prediction"),
        ("/v1/examples/99999", "unknown-example"),
        ("/v1/versions/99/examples", "unknown-version"),
    ],
)
def test_unknown_is_404(trained_client: TestClient, path: str, code: str) -> None:
    assert_problem.problem(trained_client.get(path), 404, code)


@pytest.mark.parametrize(
    "query",
    [
        "examples/1?limit=0",
        "examples/1?before=x",
        "examples/1_0",
        "examples/x",
        "versions/2/examples?after=-1",
    ],
)
def test_invalid_page_is_refused(trained_client: TestClient, query: str) -> None:
    assert_problem.problem(trained_client.get(f"/v1/{query}"), 422, "invalid-request")


def test_prediction_of_a_retired_version_says_what_is_left(
    trained_client: TestClient, trained_serving: ServingProcess
) -> None:
    sent = trained_client.post("/v1/predict", content=tinted("red", 78), headers=JPEG)
    path = f"/v1/predictions/{sent.json()['prediction_id']}"
    with trained_serving.store.db.write() as conn:
        conn.execute(text("UPDATE versions SET retired_at = 1.0 WHERE number = 2"))
    found = trained_client.get(path).json()["version"]
    with trained_serving.store.db.write() as conn:
        conn.execute(text("UPDATE versions SET retired_at = NULL WHERE number = 2"))
    assert (found["version"], found["tier"], found["libraries"]) == (2, None, None)
    assert found["retired_at"].startswith("1970-01-01")
