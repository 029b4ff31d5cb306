"""POST /v1/imports and what follows an import."""

from __future__ import annotations

import asyncio
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from core.settings import Settings
from service.api import uploads as bodies
from service.inference.serving_process import ServingProcess
from tests.core.exchange.archives import packed, photos
from tests.service import trained_home
from tests.service.api.uploads import ZIP, followed, imported, importer_stopped, request_of, upload
from tests.service.conftest import app_of, client_of

pytestmark = pytest.mark.slow  # not in `make check`

FOUR = packed(photos("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png") | {"x.txt": "nothing"})


def files_of(client: TestClient) -> list[Path]:
    folder: Path = client.app.state.serving.importer.files.folder  # type: ignore[attr-defined]
    return list(folder.iterdir()) if folder.exists() else []


def test_archive_is_taken_and_worked_on_afterwards(fresh: TestClient) -> None:
    serving = fresh.app.state.serving  # type: ignore[attr-defined]
    with importer_stopped(serving):
        asked = upload(fresh, FOUR, name="pets.zip", who="ann")
        assert asked.status_code == 202
        body = asked.json()
        assert asked.headers["Location"] == f"/v1/imports/{body['id']}"
        assert (body["state"], body["name"], body["total"]) == ("waiting", "pets.zip", None)
        assert body["num_bytes"] == len(FOUR)
    events = followed(fresh, asked)
    assert [name for name, _ in events][-1] == "end"
    done = events[-1][1]
    assert done == fresh.get(asked.headers["Location"]).json()
    assert (done["state"], done["position"], done["total"]) == ("finished", 5, 5)
    assert done["counts"] == {
        "added": 4,
        "already": 0,
        "relabelled": 0,
        "kept corrections": 0,
        "duplicates": 0,
        "conflicts": 0,
        "unreadable": 0,
        "ignored": 1,
    }
    assert done["problems"] == [{"file": "x.txt", "what": "a text or a document"}]
    assert files_of(fresh) == []
    assert fresh.get("/v1/status").json()["labels"]["examples"] == {"cat": 2, "dog": 2}
    assert fresh.delete(f"/v1/batches/{done['batch_id']}").json()["retracted"] == 4


def test_list_is_newest_first_and_goes_on(fresh: TestClient) -> None:
    ids = [imported(fresh, FOUR)["id"] for _ in range(3)]
    first = fresh.get("/v1/imports?limit=2").json()
    assert [each["id"] for each in first["imports"]] == ids[:0:-1]
    rest = fresh.get("/v1/imports", params={"before": first["next_before"]}).json()
    assert [each["id"] for each in rest["imports"]] == ids[:1]
    assert rest["next_before"] is None
    assert fresh.get("/v1/imports?before=nothing").status_code == 404


def test_import_is_cancelled(fresh: TestClient) -> None:
    serving = fresh.app.state.serving  # type: ignore[attr-defined]
    with importer_stopped(serving):
        asked = upload(fresh, FOUR)
        cancelled = fresh.delete(asked.headers["Location"])
        assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
        assert files_of(fresh) == []
    again = fresh.delete(asked.headers["Location"])
    assert (again.status_code, again.json()["code"]) == (409, "import-finished")
    for method in ("GET", "DELETE"):
        missing = fresh.request(method, "/v1/imports/0")
        assert (missing.status_code, missing.json()["code"]) == (404, "unknown-import")
    assert fresh.get("/v1/imports/0/events").status_code == 404


def test_splits_beside_classes_fail_with_the_way_out(fresh: TestClient) -> None:
    mixed = packed(photos("train/1.png", "cat/2.png"))
    done = imported(fresh, mixed)
    assert done["state"] == "failed"
    assert "layout=classes" in done["error"]
    assert imported(fresh, mixed, layout="classes")["counts"]["added"] == 2


@pytest.mark.parametrize(
    ("content", "headers", "query", "status", "code"),
    [
        (b"no archive", ZIP, {}, 422, "invalid-archive"),
        (b"", ZIP, {}, 422, "invalid-archive"),
        (FOUR, {"Content-Type": "image/png"}, {}, 415, "unsupported-media-type"),
        (FOUR, {}, {}, 415, "unsupported-media-type"),
        (FOUR, {**ZIP, "Content-Encoding": "gzip"}, {}, 415, "unsupported-media-type"),
        (FOUR, ZIP, {"layout": "other"}, 422, "invalid-request"),
        (FOUR, ZIP, {"nothing": "1"}, 422, "invalid-request"),
        (FOUR, ZIP, {"name": "x" * 301}, 422, "invalid-request"),
        (FOUR, ZIP, {"name": "a\0b"}, 422, "invalid-request"),
        (FOUR, ZIP, {"who": "trainer"}, 422, "invalid-request"),
    ],
)
def test_bad_upload_is_refused_and_leaves_nothing(
    client: TestClient,
    content: bytes,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    response = client.post("/v1/imports", content=content, headers=headers, params=query)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert files_of(client) == []
    assert client.get("/v1/imports").json()["imports"] == []


def parts(number: int) -> Iterator[bytes]:
    for _ in range(number):
        yield bytes(100_000)


def test_archive_above_the_limit_is_refused(settings: Settings) -> None:
    small = settings.model_copy(update={"max_import_mb": 0.5})
    serving = trained_home.start_with_the_starter(small)
    with client_of(serving) as client:
        for content in (bytes(600_000), parts(6)):  # announced, and in chunks
            response = client.post("/v1/imports", content=content, headers=ZIP)
            assert response.status_code == 413
            assert "500,000 (EVERGREEN_MAX_IMPORT_MB)" in response.json()["detail"]
        assert files_of(client) == []
        larger_than_a_body = packed({"cat/1.png": bytes(100_000)}, zipfile.ZIP_STORED)
        assert upload(client, larger_than_a_body).status_code == 202
    serving.stop()


def test_archive_that_the_disk_has_no_room_for_is_refused(
    settings: Settings,
) -> None:
    full = settings.model_copy(update={"min_free_disk_mb": 10**12})
    serving = trained_home.start_with_the_starter(full)
    with client_of(serving) as client:
        for content in (FOUR, parts(2)):
            response = client.post("/v1/imports", content=content, headers=ZIP)
            assert (response.status_code, response.json()["code"]) == (507, "disk-full")
        assert files_of(client) == []
    serving.stop()


@pytest.mark.parametrize("last", [{"type": "http.disconnect"}, None])
def test_client_that_leaves_or_stalls_leaves_no_file(
    serving: ServingProcess, monkeypatch: pytest.MonkeyPatch, last: Message | None
) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.05)
    messages: list[Message] = [{"type": "http.request", "body": FOUR[:100], "more_body": True}]
    sent: list[Message] = []
    scope, receive = request_of(messages + ([last] if last else []), len(FOUR))

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app_of(serving)(scope, receive, send))
    assert not list(serving.importer.files.folder.iterdir())
    statuses = [message["status"] for message in sent if message["type"].endswith("start")]
    assert statuses == ([] if last else [408])


def test_event_loop_frees_no_disk(serving: ServingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an upload that breaks off, and of one that is no archive."""
    monkeypatch.setattr(bodies, "_WRITE_BYTES", 10)
    freed: list[int] = []
    unlink = Path.unlink

    def recorded(path: Path, missing_ok: bool = False) -> None:
        if threading.current_thread() is threading.main_thread() and path.exists():
            freed.append(path.stat().st_size)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", recorded)
    for end in ({"type": "http.disconnect"}, {"type": "http.request", "body": bytes(10)}):
        first = {"type": "http.request", "body": bytes(100), "more_body": True}
        scope, receive = request_of([first, end], 110)

        async def send(_: Message) -> None: ...

        asyncio.run(app_of(serving)(scope, receive, send))
        assert not list(serving.importer.files.folder.iterdir())
    assert freed == [0]


def test_upload_ends_on_a_disk_that_others_fill_meanwhile(
    serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_WRITE_BYTES", 10)
    free = [0, 10**12, 10**12]  # for the whole, for its first part, and then
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free.pop()))
    part = {"type": "http.request", "body": bytes(10), "more_body": True}
    scope, receive = request_of([part, part, part], 30)
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(app_of(serving)(scope, receive, send))
    assert statuses == [507]
    assert not list(serving.importer.files.folder.iterdir())


def test_timer_of_bentoml_is_stopped_before_the_body_is_read(serving: ServingProcess) -> None:
    """It ends with the first message, which a server refuses."""
    scope, receive = request_of(
        [{"type": "http.request", "body": FOUR, "more_body": False}], len(FOUR)
    )
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 1:
            raise RuntimeError("Expected ASGI message 'http.response.start'")

    asyncio.run(app_of(serving)(scope, receive, send))
    assert [message["type"] for message in sent][1:] == [
        "http.response.start",
        "http.response.body",
    ]
    assert sent[1]["status"] == 202
