from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.release import release

PROBLEM = "application/problem+json"
PUBLIC = {
    ("post", "/v1/predict"),
    ("post", "/v1/feedback"),
    ("delete", "/v1/feedback/{feedback_id}"),
    ("post", "/v1/retrain"),
    ("get", "/v1/runs"),
    ("get", "/v1/runs/{run_id}"),
    ("delete", "/v1/runs/{run_id}"),
    ("get", "/v1/runs/{run_id}/events"),
    ("get", "/v1/versions"),
    ("get", "/v1/versions/{number}"),
    ("get", "/v1/versions/{number}/model.onnx"),
    ("get", "/v1/versions/{a}/diff/{b}"),
    ("get", "/v1/versions/{number}/confusion"),
    ("get", "/v1/champion"),
    ("put", "/v1/champion"),
    ("get", "/v1/status"),
    ("get", "/v1/stream"),
    ("get", "/v1/session"),
    ("post", "/v1/session"),
    ("delete", "/v1/session"),
    ("get", "/v2"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/{model}"),
    ("get", "/v2/models/{model}/ready"),
    ("post", "/v2/models/{model}/infer"),
    ("get", "/v2/models/{model}/versions/{version}"),
    ("get", "/v2/models/{model}/versions/{version}/ready"),
    ("post", "/v2/models/{model}/versions/{version}/infer"),
}


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_document_has_version_and_title(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] == "Evergreen"
    assert document["info"]["version"] == release()


def test_every_public_route_is_documented(document: dict[str, Any]) -> None:
    found = {(method, path) for method, path, _ in operations(document)}
    assert found >= PUBLIC
    assert not [path for _, path in found if not re.match("/v1/|/v2(/|$)", path)]


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    for reference in set(references(document)):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_operations_have_unique_ids_and_a_description(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    undescribed = [
        path
        for method, path, operation in operations(document)
        if not operation.get("description") and path not in ("/v1/runs/{run_id}", "/v1/status")
    ]
    assert undescribed == []


def test_path_parameters_are_declared(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_every_route_documents_its_errors(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        is_of_protocol = path.startswith("/v2")
        media_type = "application/json" if is_of_protocol else PROBLEM
        schema = "ProtocolError" if is_of_protocol else "Problem"
        for status in ("4XX", "5XX"):
            content = operation["responses"][status]["content"]
            assert content.keys() == {media_type}, path
            assert content[media_type]["schema"] == {"$ref": f"#/components/schemas/{schema}"}, path


def test_unused_errors_of_the_framework_are_not_documented(
    document: dict[str, Any],
) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for _, path, operation in operations(document):
        assert "422" not in operation["responses"], path


def test_every_route_documents_its_success(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert any(status.startswith("2") for status in operation["responses"]), path


def test_predict_documents_its_bodies_as_binary(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]
    assert body["required"] is True
    binary = {"type": "string", "format": "binary"}
    assert body["content"]["image/*"]["schema"] == binary
    assert body["content"]["application/octet-stream"]["schema"] == binary
    form = body["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image"]
    one, several = form["properties"]["image"]["oneOf"]
    assert (one, several["items"]) == (binary, binary)


def test_feedback_documents_both_bodies_and_both_responses(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/feedback"]["post"]
    content = operation["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    assert schema["required"] == ["label"]
    assert schema["properties"].keys() == {"prediction_id", "example_id", "label", "who"}
    assert content["multipart/form-data"]["schema"]["required"] == ["image", "label"]
    assert operation["responses"].keys() >= {"200", "201"}
    headers = {p["name"].lower() for p in operation["parameters"] if p["in"] == "header"}
    assert headers == {"idempotency-key", "x-request-timeout-ms"}


def test_import_documents_no_table_where_tables_are_refused(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/imports"]["post"]["requestBody"]["content"]
    zips = {"application/zip", "application/x-zip-compressed"}
    assert content.keys() == {*zips, "application/octet-stream"}


@pytest.mark.parametrize("place", ["", "/versions/{version}"])
def test_infer_documents_json_with_and_without_binary_data(
    document: dict[str, Any], place: str
) -> None:
    operation = document["paths"][f"/v2/models/{{model}}{place}/infer"]["post"]
    both = {"application/json", "application/octet-stream"}
    assert operation["requestBody"]["content"].keys() == both
    assert operation["responses"]["200"]["content"].keys() == both
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    tensor = {"$ref": "#/components/schemas/RequestInput"}
    assert body["properties"]["inputs"]["items"] == tensor
    response = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert response == {"$ref": "#/components/schemas/InferenceResponse"}
    *places, timeout = operation["parameters"]
    assert {p["in"] for p in places} == {"path"}
    assert timeout["name"].lower() == "x-request-timeout-ms"
