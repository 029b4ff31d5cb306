"""A home of texts over HTTP: predictions, labels, lists and the texts themselves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.conftest import client_of, settings_in
from tests.support import images, tiny_text

TEXT = "my invoice is wrong today"
PLAIN = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    settings = settings_in(tmp_path_factory.mktemp("texts"))
    store = tiny_text.open_home(settings)
    tiny_text.label(store, 12)
    store.db.close()
    started = ServingProcess.start(settings)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def client(serving: ServingProcess) -> Iterator[TestClient]:
    with client_of(serving) as opened:
        yield opened


def predict(client: TestClient, text: str = TEXT) -> dict[str, object]:
    response = client.post("/v1/predict", content=text.encode(), headers=PLAIN)
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.json()
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"content": TEXT.encode(), "headers": PLAIN},
        {"content": TEXT.encode(), "headers": {"Content-Type": "Text/Plain; charset=UTF-8"}},
        {"content": TEXT.encode(), "headers": {"Content-Type": 'text/plain;charset="us-ascii"'}},
        {"json": {"text": TEXT}},
        {"content": json.dumps({"text": TEXT}).encode("utf-16"), "headers": JSON},
        {"files": {"text": (None, TEXT)}},
        {"files": {"text": (None, TEXT, "text/plain; charset=utf-8")}},
        {"files": {"text": ("a.txt", TEXT)}},
    ],
)
def test_text_is_predicted_alike_in_every_form(
    client: TestClient, options: dict[str, object]
) -> None:
    response = client.post("/v1/predict", **options)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    found, expected = response.json(), predict(client)
    for each in (found, expected):
        del each["prediction_id"]
    assert found == expected
    assert (found["truncated"], found["note"], found["zero_shot"]) == (False, None, False)


def test_each_of_several_texts_has_its_own_result(client: TestClient) -> None:
    body = '{"texts": ["great app", "  ", "\\ud800", "thanks"]}'
    response = client.post("/v1/predict", content=body, headers=JSON)
    assert response.status_code == 200, response.text
    items = response.json()["items"]
    assert [item["problem"] and item["problem"]["code"] for item in items] == [
        None,
        "undecodable-text",
        "undecodable-text",
        None,
    ]
    assert "lone surrogate (U+D800)" in items[2]["problem"]["detail"]
    only = client.post("/v1/predict", json={"texts": ["great app"]}).json()
    assert len(only["items"]) == 1


def test_sixty_four_of_the_longest_texts_are_taken(
    client: TestClient, serving: ServingProcess
) -> None:
    text = "\u732b " * (serving.limits.max_characters // 2)
    body = json.dumps({"texts": [text] * 64})
    assert len(body) > 4_000_000
    response = client.post("/v1/predict", content=body, headers=JSON)
    assert response.status_code == 200, response.text[:300]
    predictions = [item["prediction"] for item in response.json()["items"]]
    assert all(each["truncated"] and "unknown" in each["note"] for each in predictions)
    response = client.post("/v1/predict", content="[" + "[]," * 400_000 + "[]]", headers=JSON)
    assert_problem.problem(response, 413, "body-too-large", "beside its strings")


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code", "part"),
    [
        (images.png(8, 8), "image/png", 415, "unsupported-media-type", "classifies texts"),
        (b"x", "text/plain; charset=utf-16", 415, "unsupported-media-type", "'utf-16'"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported-media-type", "text/plain"),
        (images.png(8, 8), "text/plain", 422, "undecodable-text", "not UTF-8"),
        (b"", "text/plain", 422, "undecodable-text", "is empty"),
        (b"a\0b", "text/plain", 422, "undecodable-text", "a NUL at character offset 1"),
        (b"x" * 20_001, "text/plain", 422, "text-too-long", "20,001 characters"),
        (b'{"text": "\\ud800"}', "application/json", 422, "undecodable-text", "lone surrogate"),
        (b'{"text": 5}', "application/json", 422, "invalid-request", "`text` is a number"),
        (b'{"text": "a", "top": 1}', "application/json", 422, "invalid-request", "'top'"),
        (b'{"text": "a", "texts": ["a"]}', "application/json", 422, "invalid-request", "2 of"),
        (b'{"texts": []}', "application/json", 422, "invalid-request", "send 1 to 64"),
        (b'{"texts": ["a", null]}', "application/json", 422, "invalid-request", "`texts[1]` is nu"),
        (b'["a"]', "application/json", 422, "invalid-request", "the body is a list"),
        (b'{"text": "a", "text": "b"}', "application/json", 422, "invalid-request", "twice"),
    ],
)
def test_what_is_no_text_is_refused_with_words(
    client: TestClient, content: bytes, content_type: str, status: int, code: str, part: str
) -> None:
    response = client.post("/v1/predict", content=content, headers={"Content-Type": content_type})
    assert_problem.problem(response, status, code, part)


def test_label_comes_with_the_text_by_json_and_by_form(client: TestClient) -> None:
    body = {"text": "brand new invoice", "label": "billing", "who": "ada"}
    first = client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "k1"})
    again = client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    form = {"text": (None, "brand new invoice"), "label": (None, "bug")}
    by_form = client.post("/v1/feedback", files=form)
    assert by_form.status_code == 201, by_form.text
    assert by_form.json()["example_id"] == first.json()["example_id"]
    both = client.post("/v1/feedback", json={**body, "example_id": 1})
    assert_problem.problem(both, 422, "invalid-request", "or a text itself")


def test_batch_of_labels_takes_texts(client: TestClient) -> None:
    prediction = predict(client, "the screen is stuck again")
    body = {
        "labels": [
            {"text": "a batch of thanks", "label": "praise"},
            {"text": " ", "label": "praise"},
            {"prediction_id": prediction["prediction_id"], "label": "bug"},
            {"text": "a batch of thanks", "label": "praise"},
            {"text": "zanzibar \ud800", "label": "praise"},
        ]
    }
    response = client.post("/v1/feedback/batch", content=json.dumps(body), headers=JSON)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    expected = ["stored", "refused", "stored", "already", "refused"]
    assert [each["status"] for each in results] == expected
    assert {results[i]["problem"]["code"] for i in (1, 4)} == {"undecodable-text"}
    assert "zanzibar" not in response.text


def test_lists_have_excerpts_and_texts_are_served(client: TestClient) -> None:
    text = "please " * 100 + "refund"
    prediction = predict(client, text)
    (listed,) = client.get("/v1/predictions?limit=1").json()["predictions"]
    assert listed["id"] == prediction["prediction_id"]
    assert listed["excerpt"].startswith("please please")
    assert len(listed["excerpt"]) <= 300
    path = f"/v1/predictions/{prediction['prediction_id']}"
    assert client.get(path).json()["excerpt"] == listed["excerpt"]
    whole = client.get(f"{path}/text")
    assert (whole.text, whole.headers["content-type"]) == (text, "text/plain; charset=utf-8")
    assert client.get(f"{path}/text?size=thumbnail").text == listed["excerpt"]
    (event, *_) = client.get("/v1/events?action=text.read").json()["events"]
    assert event["subject"] == f"prediction {prediction['prediction_id']}"
    queue = client.get("/v1/queue").json()["items"]
    assert queue
    assert all(item["prediction"]["excerpt"] for item in queue)
    examples = client.get("/v1/examples").json()["examples"]
    assert examples
    assert all(example["excerpt"] for example in examples)
    problem = client.get(f"{path}/image")
    assert_problem.problem(problem, 404, "other-kind", f"GET {path}/text returns the text")


def test_text_that_was_erased_or_lost_is_in_no_list(
    client: TestClient, serving: ServingProcess
) -> None:
    store = serving.store
    examples = client.get("/v1/examples?limit=2").json()["examples"]
    store.blobs.delete(examples[0]["image"])
    serving.excerpts.forget(examples[0]["image"])
    assert client.get(f"/v1/examples/{examples[0]['id']}").json()["excerpt"] is None
    erased = client.delete(f"/v1/examples/{examples[1]['id']}")
    assert erased.status_code == 200, erased.text
    listed = client.get("/v1/examples").json()["examples"]
    assert examples[1]["image"] not in [each["image"] for each in listed]
    assert examples[1]["image"] not in serving.excerpts._kept


def test_status_and_contract_say_what_the_home_takes(client: TestClient) -> None:
    assert client.get("/v1/status").json()["input"] == "text"
    paths = client.get("/openapi.json").json()["paths"]
    taken = paths["/v1/predict"]["post"]["requestBody"]["content"]
    assert taken.keys() == {"text/plain", "multipart/form-data", "application/json"}
    fields = paths["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "text" in fields["properties"]
    imported = paths["/v1/imports"]["post"]["requestBody"]["content"]
    assert imported["application/json"] == {"schema": {}}, "rows of any shape are read later"


def test_no_text_is_logged_or_quoted(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    secret = "zanzibar"
    caplog.set_level(logging.DEBUG)
    answers = [
        client.post("/v1/predict", content=f"{secret}\0".encode(), headers=PLAIN),
        client.post("/v1/predict", json={"text": [secret]}),
        client.post("/v1/predict", json={"texts": secret}),
        client.post("/v1/feedback", json={"text": secret, "label": "", "who": secret * 90}),
        client.post("/v1/feedback", json={"text": secret, "example_id": 1, "label": "a"}),
        client.post("/v1/feedback/batch", json={"labels": [{"text": [secret], "label": "a"}]}),
        client.post("/v1/feedback/batch", json={"labels": [{"text": secret}]}),
        client.post(
            "/v1/feedback/batch", json={"labels": [{"text": secret, "example_id": 1, "label": "a"}]}
        ),
        client.post(
            "/v1/feedback",
            content=f'{{"text": "{secret}\\ud800", "label": "a"}}',
            headers=JSON,
        ),
    ]
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert secret not in answer.text, answer.text
    assert secret not in caplog.text


def test_oip_takes_texts_as_strings_and_as_binary(client: TestClient) -> None:
    metadata = client.get("/v2/models/evergreen").json()
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": [TEXT, "great, " * 9_000]}
    response = client.post("/v2/models/evergreen/infer", json={"inputs": [tensor]})
    assert response.status_code == 400, "over 20,000 characters"
    tensor["data"] = [TEXT, "great, " * 2_000]
    response = client.post("/v2/models/evergreen/infer", json={"inputs": [tensor]})
    outputs = {each["name"]: each for each in response.json()["outputs"]}
    assert outputs["label"]["data"][0] == predict(client)["label"]
