"""The header `X-Request-Id` of each response."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from core.access.roles import Role
from service.inference.serving_process import ServingProcess
from tests.service.access_clients import add_keys
from tests.service.client import new_image
from tests.service.conftest import client_of

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.mark.parametrize(
    ("sent", "is_kept"), [("abc-1", True), ("x" * 64, True), ("x" * 65, False), ("a b", False)]
)
def test_request_id_of_a_client_is_kept_if_it_is_clean(
    trained_client: TestClient, sent: str, is_kept: bool
) -> None:
    for path in ("/v1/status", "/livez", "/nothing"):
        answered = trained_client.get(path, headers={"X-Request-Id": sent}).headers.get_list(
            "X-Request-Id"
        )
        assert len(answered) == 1
        assert (answered[0] == sent) == is_kept


def test_refusal_and_prediction_have_a_request_id(trained_serving: ServingProcess) -> None:
    headers = add_keys(trained_serving)[Role.PREDICT]
    client = client_of(trained_serving)
    client.app.state.serving.key_ring.renew().result(5)  # type: ignore[attr-defined]
    refused = [client.get("/v1/status") for _ in range(3)]
    assert {response.status_code for response in refused} == {401}
    predicted = client.post(
        "/v1/predict", content=new_image(), headers={"Content-Type": "image/png", **headers}
    )
    ids = {response.headers["X-Request-Id"] for response in [*refused, predicted]}
    assert len(ids) == 4
