"""GET /v1/examples/{id}/image and GET /v1/predictions/{id}/image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from core.errors import ImageTooLarge
from core.store.blobs import sha256
from service.inference import thumbnails
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.client import label_image, new_image, predict
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`

TIFF = images.encode(images.scene(640, 480, 7), "TIFF")


def serving_of(client: TestClient) -> ServingProcess:
    serving: ServingProcess = client.app.state.serving  # type: ignore[attr-defined]
    return serving


def thumbnails_of(client: TestClient) -> list[Path]:
    return list((serving_of(client).settings.home / "cache" / "thumbnails").rglob("*.jpg"))


def label(client: TestClient, image: bytes) -> str:
    """Label an image. Returns the path of its example's image."""
    return f"/v1/examples/{label_image(client, image, 'cat').json()['example_id']}/image"


def size_of(content: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(content)).size


def test_whole_image_is_the_stored_bytes_with_their_media_type(client: TestClient) -> None:
    for image, media_type in ((TIFF, "image/tiff"), (new_image(), "image/png")):
        path = label(client, image)
        response = client.get(path)
        assert response.content == client.get(f"{path}?size=whole").content == image
        assert response.headers["content-type"] == media_type
        assert response.headers["etag"] == f'"{sha256(image)}-whole"'
        assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
        name = f"{path[4:-6].replace('s/', '-')}.{media_type[6:]}"
        assert response.headers["content-disposition"] == f'inline; filename="{name}"'


def test_thumbnail_is_a_small_jpeg_of_any_format_and_is_made_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{label(client, TIFF)}?size=thumbnail"
    first = client.get(path)
    assert (first.status_code, first.headers["content-type"]) == (200, "image/jpeg")
    assert size_of(first.content) == (320, 240)
    monkeypatch.setattr("core.inputs.pixels.thumbnail.thumbnail", None)
    assert client.get(path).content == first.content


def test_client_that_has_the_image_gets_no_body(client: TestClient) -> None:
    path = label(client, new_image())
    for size in ("whole", "thumbnail"):
        tag = client.get(path, params={"size": size}).headers["etag"]
        same = client.get(path, params={"size": size}, headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert "immutable" in same.headers["cache-control"]
        other = client.get(path, params={"size": size}, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200


def test_prediction_has_its_image_while_it_is_kept(fresh: TestClient) -> None:
    image = new_image()
    path = f"/v1/predictions/{predict(fresh, image)}/image"
    assert fresh.get(path).content == image
    assert size_of(fresh.get(f"{path}?size=thumbnail").content) == (48, 48)
    store = serving_of(fresh).store
    with store.db.write() as conn:
        conn.exec_driver_sql("UPDATE predictions SET kept_bytes = NULL, capture = 'swept'")
    for size in ("whole", "thumbnail"):  # although it is in the cache
        gone = fresh.get(f"{path}?size={size}")
        assert_problem.problem(gone, 409, "image-not-kept", "it was swept")
    assert serving_of(fresh).thumbnails.sweep() == 1
    assert thumbnails_of(fresh) == []


def test_erasure_deletes_the_thumbnail_and_counts_it(fresh: TestClient) -> None:
    path = label(fresh, new_image())
    fresh.get(f"{path}?size=thumbnail")
    assert len(thumbnails_of(fresh)) == 1
    receipt = fresh.delete(path.removesuffix("/image")).json()
    assert receipt["thumbnails"] == 1
    assert any("thumbnails on other machines" in text for text in receipt["remains"])
    assert thumbnails_of(fresh) == []
    for size in ("whole", "thumbnail"):
        gone = fresh.get(f"{path}?size={size}")
        assert_problem.problem(gone, 404, "unknown-example", "was erased")


def test_thumbnail_of_another_machine_is_not_shown_after_an_erasure(fresh: TestClient) -> None:
    image = new_image()
    path = label(fresh, image)
    made = fresh.get(f"{path}?size=thumbnail").content
    fresh.delete(path.removesuffix("/image"))
    serving_of(fresh).thumbnails.cache.add(sha256(image), made)  # as if it were there
    assert fresh.get(f"{path}?size=thumbnail").status_code == 404
    assert serving_of(fresh).thumbnails.sweep() == 1


def test_image_that_is_erased_while_its_thumbnail_is_made_leaves_none(fresh: TestClient) -> None:
    image = new_image()
    path = label(fresh, image)
    serving = serving_of(fresh)
    with serving.store.db.write() as conn:
        conn.exec_driver_sql("UPDATE examples SET image = 'erased-1'")
    serving.thumbnails._keep(sha256(image), b"\xff\xd8\xff\xff\xd9")
    assert thumbnails_of(fresh) == []
    assert fresh.get(path).status_code == 404


def test_lost_image_is_gone_and_says_how_to_get_it_back(fresh: TestClient) -> None:
    image = new_image()
    path = label(fresh, image)
    serving_of(fresh).store.blobs.delete(sha256(image))
    for size in ("whole", "thumbnail"):
        lost = fresh.get(f"{path}?size={size}")
        assert_problem.problem(lost, 410, "image-lost", "missing", "restore it from a backup")
    (listed,) = fresh.get("/v1/lost-images").json()["lost_images"]
    assert listed["problem"] == "missing"
    assert fresh.get(path.removesuffix("/image")).json()["image_problem"] == "missing"


def test_image_beyond_todays_limit_has_no_thumbnail_but_is_there(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise ImageTooLarge("too large")

    path = label(client, new_image())
    monkeypatch.setattr("core.inputs.pixels.thumbnail.thumbnail", refuse)
    refused = client.get(f"{path}?size=thumbnail")
    assert_problem.problem(refused, 422, "undecodable-image", "size=whole")
    assert client.get(path).status_code == 200


def test_too_many_thumbnails_at_a_time_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = label(client, new_image())
    monkeypatch.setattr(thumbnails, "_MOST_WAITING", 0)
    refused = client.get(f"{path}?size=thumbnail")
    assert_problem.problem(refused, 503, "overloaded", "try again in a second")
    assert refused.headers["retry-after"] == "1"


def test_thumbnail_in_time_or_not_at_all(client: TestClient) -> None:
    path = label(client, new_image())
    headers = {"X-Request-Timeout-Ms": "60000"}
    assert client.get(f"{path}?size=thumbnail", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/examples/99999/image", 404, "unknown-example"),
        ("/v1/examples/0/image", 404, "unknown-example"),
        (f"/v1/examples/{2**70}/image", 404, "unknown-example"),
        ("/v1/examples/x/image", 422, "invalid-request"),
        ("/v1/examples/1/image?size=huge", 422, "invalid-request"),
        ("/v1/predictions/x/image", 404, "unknown-prediction"),
        ("/v1/predictions/%00/image", 404, "unknown-prediction"),
        ("/v1/predictions/..%2f..%2fetc/image", 404, "not-found"),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, path: str, status: int, code: str) -> None:
    assert_problem.problem(client.get(path), status, code)
