from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.service import assert_problem
from tests.support import images

FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_other_content_type_is_refused(client: TestClient, content_type: str) -> None:
    response = client.post(
        "/v1/predict", content=images.jpeg(), headers={"Content-Type": content_type}
    )
    assert_problem.problem(
        response, 415, "unsupported-media-type", repr(content_type), "image/jpeg", "multipart"
    )


def test_missing_content_type_is_refused(client: TestClient) -> None:
    response = client.post("/v1/predict", content=images.jpeg())
    assert_problem.problem(response, 415, "unsupported-media-type", "image/jpeg")


def test_form_without_image_is_refused(client: TestClient) -> None:
    field = '--x\r\nContent-Disposition: form-data; name="label"\r\n\r\ncat\r\n--x--\r\n'
    response = client.post("/v1/predict", content=field.encode(), headers=FORM)
    assert_problem.problem(response, 422, "invalid-request", "no file `image`", "-F image=@")


def test_file_in_another_field_is_refused(client: TestClient) -> None:
    response = client.post("/v1/predict", files={"photo": ("a.jpg", images.jpeg())})
    assert_problem.problem(response, 422, "invalid-request", "'photo'", "name the field `image`")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("multipart/form-data", b"--x", id="no-boundary"),
        pytest.param("multipart/form-data; boundary=x", b"no form", id="garbage"),
        pytest.param("multipart/form-data; boundary=x", b"", id="empty"),
        pytest.param(
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
            id="nameless",
        ),
        pytest.param(
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
            id="cut",
        ),
        pytest.param(
            "multipart/form-data; boundary=x; charset=nonsense",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\xfe\r\n--x--\r\n',
            id="unknown-charset",
        ),
        pytest.param(
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 17 + b"--x--\r\n",
            id="too-many-fields",
        ),
    ],
)
def test_broken_form_is_refused(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/v1/predict", content=body, headers={"Content-Type": content_type})
    assert_problem.problem(response, 422, "invalid-request", "form")


def test_form_that_is_cut_in_its_last_field_labels_nothing(client: TestClient) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="'
    whole = part + b'image"; filename="a"\r\n\r\n' + images.png(8, 8) + b"\r\n"
    whole += part + b'label"\r\n\r\ncat\r\n' + part + b'who"\r\n\r\nme\r\n--x--\r\n'
    for cut in (whole[:-4], whole[:-8], whole[:-12]):
        response = client.post("/v1/feedback", content=cut, headers=FORM)
        assert_problem.problem(response, 422, "invalid-request", "no end", "boundary")
    assert client.post("/v1/feedback", content=whole + b"behind", headers=FORM).status_code == 201
