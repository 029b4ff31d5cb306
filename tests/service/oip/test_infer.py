"""The Open Inference Protocol through Triton's client, over a real connection."""

from __future__ import annotations

import re
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

with warnings.catch_warnings():
    # Some of its imports are deprecated.
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

from core.inputs.pixels import decoding as pixels
from core.release import release
from service.api.app import create_app
from service.inference.serving_process import ServingProcess
from service.oip.specs import MAX_BATCH
from tests.service.oip.infer_requests import PHOTOS, SIZE, TOLERANCE
from tests.support.wait import wait_until

PAGE = Path(__file__).parents[3] / "docs/how-to/open-inference-protocol.md"


@pytest.fixture(scope="module")
def address(trained_serving: ServingProcess) -> Iterator[str]:
    """A server in a thread with its own port, and version 2: red and blue."""
    app = create_app(trained_serving.settings)
    app.state.serving = trained_serving
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def asking(address: str, trained_serving: ServingProcess) -> Iterator[Any]:
    wait_until(lambda: 1 in trained_serving.swap.loaded)  # the champion before comes a moment later
    with triton.InferenceServerClient(address) as client:
        yield client


def image_input(photos: list[bytes], *, column: bool = False) -> Any:
    shape = [len(photos), 1] if column else [len(photos)]
    tensor = triton.InferInput("image", shape, "BYTES")
    tensor.set_data_from_numpy(np.array(photos, np.object_).reshape(shape))
    return tensor


def pixels_input(pixels_BHWC: Any, *, binary: bool = True) -> Any:
    tensor = triton.InferInput("pixels", list(pixels_BHWC.shape), "UINT8")
    tensor.set_data_from_numpy(pixels_BHWC, binary_data=binary)
    return tensor


def decoded(serving: ServingProcess) -> Any:
    spec = serving.slot.current().manifest.input_spec
    return np.stack([pixels.decode(photo, spec) for photo in PHOTOS])


def expected(serving: ServingProcess) -> Any:
    return serving.slot.current().predict(decoded(serving))


# Triton's client


def test_server_and_model_report_that_they_are_ready(asking: Any) -> None:
    assert asking.is_server_live()
    assert asking.is_server_ready()
    assert asking.is_model_ready("evergreen")
    assert asking.is_model_ready("evergreen", "2")
    assert asking.is_model_ready("evergreen", "1")  # the champion before, for a rollback
    assert not asking.is_model_ready("evergreen", "3")
    assert not asking.is_model_ready("resnet")


def test_server_metadata_names_release_and_extensions(asking: Any) -> None:
    assert asking.get_server_metadata() == {
        "name": "evergreen",
        "version": release(),
        "extensions": ["binary_tensor_data", "classification"],
    }


@pytest.mark.parametrize("version", ["", "2"])
def test_model_metadata_lists_inputs_outputs_and_classes(
    asking: Any, trained_serving: ServingProcess, version: str
) -> None:
    found = asking.get_model_metadata("evergreen", version)
    assert (found["name"], found["versions"]) == ("evergreen", ["1", "2"])
    assert found["inputs"] == [
        {"name": "pixels", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]},
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [(o["name"], o["datatype"], o["shape"]) for o in found["outputs"]] == [
        ("probabilities", "FP32", [-1, 2]),
        ("label", "BYTES", [-1]),
        ("confidence", "FP32", [-1]),
        ("unfamiliar", "BOOL", [-1]),
        ("embedding", "FP32", [-1, 960]),
    ]
    assert found["parameters"] == {
        "classes": ["blue", "red"],
        "max_batch_size": MAX_BATCH,
        "abstain_below": trained_serving.slot.current().manifest.abstain_below,
    }


@pytest.mark.parametrize("column", [False, True])
def test_images_get_the_predictions_of_the_model(
    asking: Any, trained_serving: ServingProcess, column: bool
) -> None:
    answer = asking.infer("evergreen", [image_input(PHOTOS, column=column)], request_id="a-1")
    response = answer.get_response()
    assert (response["model_name"], response["model_version"]) == ("evergreen", "2")
    names = " ".join(output["name"] for output in response["outputs"])
    assert (response["id"], names) == ("a-1", "probabilities label confidence unfamiliar")
    scores = expected(trained_serving)
    probabilities, right = answer.as_numpy("probabilities"), scores.probabilities_BK
    np.testing.assert_allclose(probabilities, right, atol=TOLERANCE)
    np.testing.assert_array_equal(answer.as_numpy("unfamiliar"), scores.unfamiliar_B)
    assert answer.as_numpy("label").tolist() == [[b"blue", b"red"][k] for k in right.argmax(1)]
    np.testing.assert_array_equal(answer.as_numpy("confidence"), probabilities.max(axis=1))


@pytest.mark.parametrize("binary", [True, False])
def test_pixels_get_the_predictions_of_the_model(
    asking: Any, trained_serving: ServingProcess, binary: bool
) -> None:
    answer = asking.infer("evergreen", [pixels_input(decoded(trained_serving), binary=binary)])
    right = expected(trained_serving).probabilities_BK
    np.testing.assert_allclose(answer.as_numpy("probabilities"), right, atol=TOLERANCE)


def test_full_batch_keeps_its_order(asking: Any, trained_serving: ServingProcess) -> None:
    repeated = [PHOTOS[i % 3] for i in range(MAX_BATCH)]
    answer = asking.infer("evergreen", [image_input(repeated)])
    right = expected(trained_serving).probabilities_BK[np.arange(MAX_BATCH) % 3]
    np.testing.assert_allclose(answer.as_numpy("probabilities"), right, atol=TOLERANCE)


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_are_as_requested(
    asking: Any, trained_serving: ServingProcess, binary: bool
) -> None:
    wanted = [
        triton.InferRequestedOutput("embedding", binary_data=binary),
        triton.InferRequestedOutput("label", binary_data=not binary),
    ]
    answer = asking.infer("evergreen", [image_input(PHOTOS)], outputs=wanted)
    assert [o["name"] for o in answer.get_response()["outputs"]] == ["embedding", "label"]
    assert ("data" in answer.get_output("embedding")) != binary
    assert ("data" in answer.get_output("label")) == binary
    right = expected(trained_serving).embedding_BD
    np.testing.assert_allclose(answer.as_numpy("embedding"), right, atol=1e-3)
    assert answer.as_numpy("label").shape == (3,)


def test_classification_lists_the_best_classes(asking: Any) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=5)]
    found = asking.infer("evergreen", [image_input(PHOTOS)], outputs=wanted)
    ranked = found.as_numpy("probabilities")
    assert ranked.shape == (3, 2)  # there are two classes
    for best, second in ranked:
        first, other = best.decode().split(":"), second.decode().split(":")
        assert float(first[0]) >= float(other[0])
        assert {(first[1], first[2]), (other[1], other[2])} == {("0", "blue"), ("1", "red")}


def test_version_can_be_named(asking: Any) -> None:
    answer = asking.infer("evergreen", [image_input(PHOTOS)], model_version="2")
    assert answer.get_response()["model_version"] == "2"
    before = asking.infer("evergreen", [image_input(PHOTOS)], model_version="1")
    assert before.get_response()["model_version"] == "1"
    assert before.as_numpy("probabilities").shape == (3, 200)
    for version in ("3", "02", "latest", "9" * 5000):
        with pytest.raises(
            InferenceServerException, match="is not loaded here; loaded: 1, 2; name one"
        ) as caught:
            asking.infer("evergreen", [image_input(PHOTOS)], model_version=version)
        assert caught.value.status() == "404"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_may_be_packed(asking: Any, trained_serving: ServingProcess, coding: str) -> None:
    answer = asking.infer(
        "evergreen",
        [image_input(PHOTOS)],
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    right = expected(trained_serving).probabilities_BK
    np.testing.assert_allclose(answer.as_numpy("probabilities"), right, atol=TOLERANCE)


def test_concurrent_requests_each_get_their_response(address: str) -> None:
    with triton.InferenceServerClient(address, concurrency=4) as client:
        inputs = [[image_input([photo])] for photo in PHOTOS * 4]
        waiting = [
            client.async_infer("evergreen", each, request_id=str(i))
            for i, each in enumerate(inputs)
        ]
        answers = [request.get_result() for request in waiting]
    assert [a.get_response()["id"] for a in answers] == [str(i) for i in range(12)]
    labels = [a.as_numpy("label")[0] for a in answers]
    assert labels == labels[:3] * 4


def test_client_raises_errors_with_the_message_of_the_service(asking: Any) -> None:
    with pytest.raises(InferenceServerException, match="the one here is 'evergreen'") as caught:
        asking.infer("resnet", [image_input(PHOTOS)])
    assert caught.value.status() == "404"
    broken = [PHOTOS[0], b"not a photo", PHOTOS[1]]
    with pytest.raises(InferenceServerException, match=r"element 1 .* not a readable") as caught:
        asking.infer("evergreen", [image_input(broken)])
    assert caught.value.status() == "400"
    wrong = triton.InferInput("pixels", [1, 4, 4, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(InferenceServerException, match="datatype 'FP32'; send UINT8"):
        asking.infer("evergreen", [wrong])
    with pytest.raises(InferenceServerException, match="there is nothing at /v2/repository/index"):
        asking.get_model_repository_index()


def test_example_of_the_page_runs(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(PHOTOS[0])
    monkeypatch.chdir(tmp_path)
    exec(example.replace("127.0.0.1:3000", address), {})
    label, confidence = capsys.readouterr().out.split()
    assert label in ("red", "blue")
    assert 0 < float(confidence) <= 1
