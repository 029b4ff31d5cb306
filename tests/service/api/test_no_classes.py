"""A home of texts whose version knows no classes yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from core.labelling import embeddings
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.conftest import client_of, settings_in
from tests.support import tiny_text


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[ServingProcess]:
    settings = settings_in(tmp_path)
    store = tiny_text.open_home(settings, classes=())
    tiny_text.label(store, 2)
    store.db.close()
    started = ServingProcess.start(settings)
    yield started
    started.stop()


@pytest.fixture
def client(serving: ServingProcess) -> Iterator[TestClient]:
    with client_of(serving) as opened:
        yield opened


def test_prediction_is_refused_with_what_to_do(client: TestClient) -> None:
    one = client.post("/v1/predict", json={"text": "an invoice"})
    assert_problem.problem(one, 409, "no-classes", "POST /v1/feedback", "evergreen label")
    two = client.post("/v1/predict", json={"texts": ["an invoice", "a crash"]})
    assert two.status_code == 200, two.text
    assert [each["problem"]["code"] for each in two.json()["items"]] == ["no-classes"] * 2


def test_neighbours_need_no_classes(serving: ServingProcess, client: TestClient) -> None:
    champion = serving.predictor._slot.current()
    text, _ = tiny_text.texts(1)[0]
    tokens_1T = champion.reader.decode(text.encode()).array[None]
    with serving.store.db.write() as conn:
        rows = [(1, champion.backbone.embed(tokens_1T)[0])]
        embeddings.put(conn, champion.manifest.backbone, rows)
    response = client.get("/v1/neighbours?example=2")  # it has no embedding
    assert response.status_code == 200, response.text
    (near,) = response.json()["neighbours"]
    assert (near["example"]["id"], near["example"]["excerpt"]) == (1, text)
