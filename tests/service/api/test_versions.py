from __future__ import annotations

import hashlib
import io

import numpy as np
import onnx
import onnxruntime
import pytest
from starlette.testclient import TestClient

from core.inputs import pixels
from core.inputs.pixels import PixelSpec
from tests.service import assert_problem, trained_home

# The composed graph may be optimised across what were two files.
PARITY_ATOL = 1e-5


def test_versions_are_listed_newest_first(taught_client: TestClient) -> None:
    found = taught_client.get("/v1/versions").json()["versions"]
    assert [version["version"] for version in found] == [2, 1]
    assert [version["is_champion"] for version in found] == [True, False]
    assert found[0]["classes"] == ["blue", "red"]
    assert found[0]["parent"] == 1
    assert len(found[1]["classes"]) == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [("limit=1", [2]), ("before=2", [1]), ("before=1", []), (f"before={'9' * 30}", [2, 1])],
)
def test_list_is_paged(taught_client: TestClient, query: str, expected: list[int]) -> None:
    found = taught_client.get(f"/v1/versions?{query}").json()["versions"]
    assert [version["version"] for version in found] == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=x"])
def test_bad_page_is_refused(taught_client: TestClient, query: str) -> None:
    name, value = query.split("=")
    response = taught_client.get(f"/v1/versions?{query}")
    assert_problem.problem(response, 422, "invalid-request", name, value)


def test_version_comes_with_its_manifest_and_the_gates_reason(taught_client: TestClient) -> None:
    version = taught_client.get("/v1/versions/2").json()
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
    taught_client: TestClient, taught_serving: object
) -> None:
    manifest = taught_client.get("/v1/versions/2").json()["manifest"]
    parent = taught_client.get("/v1/versions/1").json()["manifest"]
    assert manifest["backbone"] == parent["backbone"]
    assert manifest["head"] != parent["head"]
    blobs = taught_client.app.state.serving.store.blobs  # type: ignore[attr-defined]
    assert hashlib.sha256(blobs.get(manifest["head"])).hexdigest() == manifest["head"]


@pytest.mark.parametrize("number", [1, 2])
def test_downloaded_model_answers_like_the_service(taught_client: TestClient, number: int) -> None:
    response = taught_client.get(f"/v1/versions/{number}/model.onnx")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert f"evergreen-{number}.onnx" in response.headers["content-disposition"]
    onnx.checker.check_model(onnx.load(io.BytesIO(response.content)), full_check=True)
    session = onnxruntime.InferenceSession(response.content, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    classes = facts["classes"].split("\n")
    spec = PixelSpec(int(facts["size_px"]), float(facts["crop_fraction"]))

    taught_client.put("/v1/champion", json={"version": number})
    for seed, name in enumerate(trained_home.COLOURS):
        image = trained_home.tinted(name, 500 + seed)
        answer = taught_client.post(
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


@pytest.mark.parametrize("number", ["3", "0", "-1", "9" * 30])
@pytest.mark.parametrize("tail", ["", "/model.onnx"])
def test_unknown_version_is_not_found(taught_client: TestClient, tail: str, number: str) -> None:
    response = taught_client.get(f"/v1/versions/{number}{tail}")
    assert_problem.problem(response, 404, "unknown-version", number, "there are 1 to 2")


def test_pin_that_is_no_number_is_refused(taught_client: TestClient) -> None:
    assert_problem.problem(taught_client.get("/v1/versions/new"), 422, "invalid-request", "'new'")
