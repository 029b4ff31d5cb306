from __future__ import annotations

import hashlib
import io

import numpy as np
import onnx
import onnxruntime
import pytest
from starlette.testclient import TestClient

from core.inputs.pixels import decoding as pixels
from core.inputs.pixels.decoding import PixelSpec
from core.registry import versions
from service.api.routes import versions as routes
from tests.service import assert_problem, trained_home
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`

# onnxruntime may optimise across the border of the two former files.
PARITY_ATOL = 1e-5


def test_versions_are_listed_newest_first(trained_client: TestClient) -> None:
    found = trained_client.get("/v1/versions").json()["versions"]
    assert [version["version"] for version in found] == [2, 1]
    assert [version["is_champion"] for version in found] == [True, False]
    assert found[0]["classes"] == ["blue", "red"]
    assert found[0]["parent"] == 1
    assert len(found[1]["classes"]) == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [("limit=1", [2]), ("before=2", [1]), ("before=1", []), (f"before={'9' * 30}", [2, 1])],
)
def test_list_is_paged(trained_client: TestClient, query: str, expected: list[int]) -> None:
    found = trained_client.get(f"/v1/versions?{query}").json()["versions"]
    assert [version["version"] for version in found] == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=x"])
def test_invalid_page_is_refused(trained_client: TestClient, query: str) -> None:
    name, value = query.split("=")
    response = trained_client.get(f"/v1/versions?{query}")
    assert_problem.problem(response, 422, "invalid-request", name, value)


def test_version_has_its_manifest_and_the_reason_of_the_gate(trained_client: TestClient) -> None:
    version = trained_client.get("/v1/versions/2").json()
    manifest = version["manifest"]
    assert (manifest["version"], manifest["parent"]) == (2, 1)
    assert manifest["classes"] == version["classes"]
    assert manifest["snapshot"] == version["snapshot"] == 2 * trained_home.NUM_OF_EACH
    assert manifest["run_id"] == version["run_id"]
    assert PixelSpec.from_json(manifest["pixels"]).size_px == 144
    assert version["gate"]["promote"] is True
    assert version["gate"]["reason"]
    assert version["metrics"]["accuracy"] > 0.9


def test_models_are_named_by_their_digests(
    trained_client: TestClient, trained_serving: object
) -> None:
    manifest = trained_client.get("/v1/versions/2").json()["manifest"]
    parent = trained_client.get("/v1/versions/1").json()["manifest"]
    assert manifest["backbone"] == parent["backbone"]
    assert manifest["head"] != parent["head"]
    blobs = trained_client.app.state.serving.store.blobs  # type: ignore[attr-defined]
    assert hashlib.sha256(blobs.get(manifest["head"])).hexdigest() == manifest["head"]


@pytest.mark.parametrize("number", [1, 2])
def test_downloaded_model_predicts_like_the_service(
    trained_client: TestClient, number: int
) -> None:
    response = trained_client.get(f"/v1/versions/{number}/model.onnx")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert f"evergreen-{number}.onnx" in response.headers["content-disposition"]
    onnx.checker.check_model(onnx.load(io.BytesIO(response.content)), full_check=True)
    session = onnxruntime.InferenceSession(response.content, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    classes = facts["classes"].split("\n")
    spec = PixelSpec(int(facts["size_px"]), float(facts["crop_fraction"]))

    trained_client.put("/v1/champion", json={"version": number})
    for seed, name in enumerate(trained_home.COLOURS):
        image = trained_home.tinted(name, 500 + seed)
        answer = trained_client.post(
            "/v1/predict?top=1000", content=image, headers={"Content-Type": "image/png"}
        ).json()
        assert answer["version"] == number
        given = {candidate["label"]: candidate["confidence"] for candidate in answer["top"]}
        (found,) = session.run(
            ["probabilities"], {"pixels": pixels.decode(image, spec)[np.newaxis]}
        )
        np.testing.assert_allclose(
            found[0], [given[name] for name in classes], rtol=0, atol=PARITY_ATOL
        )


def test_model_is_composed_once_and_streamed(
    trained_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/v1/versions/2/model.onnx"
    first = trained_client.get(path)
    monkeypatch.delattr(routes, "standalone")
    again = trained_client.get(path)
    assert again.content == first.content
    tag = f'"{hashlib.sha256(first.content).hexdigest()}"'
    assert first.headers["etag"] == again.headers["etag"] == tag
    assert int(again.headers["content-length"]) == len(first.content)
    head = trained_client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == again.headers["content-length"]
    unchanged = trained_client.get(path, headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


@pytest.mark.parametrize("number", ["3", "0", "-1", "9" * 30])
@pytest.mark.parametrize("tail", ["", "/model.onnx"])
def test_unknown_version_is_not_found(trained_client: TestClient, tail: str, number: str) -> None:
    response = trained_client.get(f"/v1/versions/{number}{tail}")
    assert_problem.problem(response, 404, "unknown-version", number, "there are 1 to 2")


def test_version_that_is_not_a_number_is_refused(trained_client: TestClient) -> None:
    assert_problem.problem(trained_client.get("/v1/versions/new"), 422, "invalid-request", "'new'")


def test_version_names_its_lost_files(fresh: TestClient) -> None:
    store = fresh.app.state.serving.store  # type: ignore[attr-defined]
    number = tiny.publish(store, tiny.make_manifest(store.blobs))
    assert fresh.get(f"/v1/versions/{number}").json()["lost_files"] == {}
    with store.db.read() as conn:
        version = versions.get(conn, number)
    store.blobs.delete(version.head)
    assert fresh.get(f"/v1/versions/{number}").json()["lost_files"] == {"head.onnx": "missing"}
    store.blobs.delete(version.manifest)
    shown = fresh.get(f"/v1/versions/{number}").json()
    assert (shown["manifest"], shown["lost_files"]["manifest.json"]) == (None, "missing")
    listed = fresh.get("/v1/versions").json()["versions"]
    assert [len(each["lost_files"]) for each in listed] == [2, 0]
