"""A server with a key says which versions it signed, and hands out no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from core.registry import versions
from core.settings import Settings
from core.store import schema
from core.store.store import Store
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.service.conftest import client_of
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with a key. Version 1 is signed, and version 2 is not."""
    folder: Path = tmp_path_factory.mktemp("signing")
    key_file = folder / "key"
    key_file.write_bytes(b"k" * 32)
    key_file.chmod(0o600)
    settings = Settings(home=folder / "home", device="cpu", workers=1, manifest_key_file=key_file)
    started = trained_home.start_with_the_starter(settings)
    forger = replace(started.store, signer=None)
    assert tiny.publish(forger, tiny.make_manifest(forger.blobs)) == 2
    with client_of(started) as opened:
        yield opened
    started.stop()


def store_of(client: TestClient) -> Store:
    serving: ServingProcess = client.app.state.serving  # type: ignore[attr-defined]
    return serving.store


def test_version_says_whether_it_is_signed(signing: TestClient) -> None:
    first, second = (signing.get(f"/v1/versions/{number}").json() for number in (1, 2))
    assert first["signed"]
    assert len(first["manifest"]["signature"]) == 64
    assert not second["signed"]
    assert second["manifest"]["backbone_name"] == "tiny"


def test_server_without_a_key_calls_no_version_signed(client: TestClient) -> None:
    assert not client.get("/v1/versions/1").json()["signed"]


def test_unsigned_version_is_not_promoted(signing: TestClient) -> None:
    response = signing.put("/v1/champion", json={"version": 2})
    assert_problem.problem(
        response, 409, "promotion-failed", "version 2 is not signed", "evergreen versions sign"
    )
    assert signing.get("/v1/champion").json()["version"] == 1


def test_unsigned_version_is_not_handed_out(signing: TestClient) -> None:
    response = signing.get("/v1/versions/2/model.onnx")
    assert_problem.problem(response, 500, "signature-mismatch", "version 2 is not signed")


def test_model_of_one_version_is_not_handed_out_as_that_of_another(signing: TestClient) -> None:
    """It is on this machine already, under the digest of the other's manifest."""
    assert signing.get("/v1/versions/1/model.onnx").status_code == 200
    store = store_of(signing)
    with store.db.write() as conn:
        before, other = versions.get(conn, 2), versions.get(conn, 1)
        row = update(schema.versions).where(schema.versions.c.number == 2)
        conn.execute(row.values(manifest=other.manifest))
    try:
        assert signing.get("/v1/versions/2/model.onnx").status_code == 500
        assert not signing.get("/v1/versions/2").json()["signed"]
    finally:
        with store.db.write() as conn:
            conn.execute(row.values(manifest=before.manifest))
