"""A home of texts: BentoML's own client and Triton's against a real `bentoml serve`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

with warnings.catch_warnings():
    # Some of their imports are deprecated.
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    from bentoml import SyncHTTPClient
    from bentoml.exceptions import BentoMLException

from core.settings import Settings
from tests.support import tiny_text
from tests.support.server import Server, running

pytestmark = pytest.mark.end_to_end

TEXT = "my invoice is wrong"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("server") / "home"
    tiny_text.open_home(Settings(home=home, device="cpu")).db.close()
    with running(home, workers=2, EVERGREEN_RUN_TRAINER="false") as started:
        yield started


@pytest.fixture(scope="module")
def over_http(server: Server) -> dict[str, Any]:
    headers = {"Content-Type": "text/plain"}
    response = httpx.post(f"{server.url}/v1/predict", content=TEXT, headers=headers)
    found: dict[str, Any] = response.json()
    return found


def test_bentomls_client_predicts_a_text(server: Server, over_http: dict[str, Any]) -> None:
    schema = httpx.get(f"{server.url}/schema.json").json()
    (route,) = [each for each in schema["routes"] if each["name"] == "predict"]
    assert route["input"]["properties"].keys() == {"text"}
    with SyncHTTPClient(server.url) as client:
        for answer in (client.predict(text=TEXT), client.predict(TEXT)):
            assert answer["top"] == over_http["top"]
        with pytest.raises(BentoMLException, match="send at least one word"):
            client.predict(text=" ")
        client._temp_dir.cleanup()


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritons_client_predicts_texts(
    server: Server, over_http: dict[str, Any], is_binary: bool
) -> None:
    tensor = triton.InferInput("text", [2], "BYTES")
    texts = np.array([TEXT.encode(), "great, \u00fcber thanks".encode()], np.object_)
    tensor.set_data_from_numpy(texts, binary_data=is_binary)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.get_model_metadata("evergreen")["inputs"][0]["name"] == "text"
        labels = client.infer("evergreen", [tensor]).as_numpy("label")
    assert labels[0].decode() == over_http["label"]
