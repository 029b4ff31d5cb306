"""Imports and exports of a home of texts, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.core.exchange.archives import packed
from tests.service.api.uploads import ZIP, followed
from tests.service.conftest import client_of
from tests.support import tiny_text

pytestmark = pytest.mark.slow  # not in `make check`

CSV = {"Content-Type": "text/csv; charset=utf-8"}
TABLE = "body,topic\nit crashed,bug\n=1+1,praise\n"


@pytest.fixture
def texts(settings: Settings) -> Iterator[TestClient]:
    tiny_text.open_home(settings).db.close()
    serving = ServingProcess.start(settings)
    with client_of(serving) as client:
        yield client
    serving.stop()


def test_table_comes_in_and_goes_out_in_every_format(texts: TestClient) -> None:
    asked = texts.post(
        "/v1/imports", content=TABLE, headers=CSV, params={"text": "body", "label": "topic"}
    )
    done = followed(texts, asked)[-1][1]
    assert (done["state"], done["counts"]["added"]) == ("finished", 2)
    for format, kind in (
        ("csv", "text/csv; charset=utf-8"),
        ("jsonl", "application/x-ndjson"),
        ("label-studio", "application/zip"),
        ("folder", "application/zip"),
    ):
        sent = texts.get("/v1/export", params={"format": format})
        assert (sent.status_code, sent.headers["content-type"]) == (200, kind)
        again = followed(
            texts, texts.post("/v1/imports", content=sent.content, headers={"Content-Type": kind})
        )[-1][1]
        assert (again["state"], again["counts"]["already"]) == ("finished", 2), format


@pytest.mark.parametrize(
    ("content", "headers", "query", "status", "words"),
    [
        (TABLE, CSV, {}, 422, "table.csv has no column 'text'; its columns are 'body', 'topic'"),
        (TABLE.encode("utf-16"), CSV, {}, 422, "table.csv is UTF-16"),
        ("x", {"Content-Type": "application/x-ndjson"}, {}, 422, "no JSON object"),
        ("x", {"Content-Type": "image/png"}, {}, 415, "text/csv"),
        (TABLE, CSV, {"text": "b" * 201}, 422, "at most 200"),
    ],
)
def test_table_that_cannot_be_read_is_refused_at_once(
    texts: TestClient,
    content: str | bytes,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
    words: str,
) -> None:
    response = texts.post("/v1/imports", content=content, headers=headers, params=query)
    assert response.status_code == status
    assert words in response.text
    assert texts.get("/v1/imports").json()["imports"] == []


def test_home_of_images_takes_no_table(fresh: TestClient) -> None:
    response = fresh.post("/v1/imports", content=TABLE, headers=CSV)
    assert response.status_code == 415
    assert "this home classifies images" in response.json()["detail"]
    assert "text/csv" not in response.json()["detail"].split("send")[1]
    archive = packed({"a.csv": TABLE})
    asked = fresh.post("/v1/imports", content=archive, headers=ZIP, params={"text": "body"})
    assert followed(fresh, asked)[-1][1]["state"] == "failed"
