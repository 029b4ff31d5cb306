"""A home whose name means something to URLs, shells or libraries: all that is stored is in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core.settings import load_settings
from core.store.store import open_store
from core.system.host import this_host
from service.traffic.load_table import open_load_table
from tests.service.client import label_image, new_image
from tests.service.conftest import client_of
from tests.service.trained_home import start_with_the_starter

pytestmark = pytest.mark.slow  # not in `make check`

NAME = """100% 50%25 a%20b ~x $HOME it's "b" c#d e?f=g&h ;i ::j {k} [l] *m ä\\n"""


def test_serving_keeps_everything_in_a_home_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / NAME
    settings = load_settings({"EVERGREEN_HOME": str(home), "EVERGREEN_DEVICE": "cpu"})
    serving = start_with_the_starter(settings)
    try:
        with client_of(serving) as client:
            image = new_image()
            response = client.post(
                "/v1/predict", content=image, headers={"Content-Type": "image/png"}
            )
            prediction = response.json()
            assert label_image(client, image, "cat").status_code == 201
            assert client.get("/v1/versions/1/model.onnx").status_code == 200
        table = open_load_table(settings.shared, this_host())
        assert table is not None
        table.close()
    finally:
        serving.stop()
    assert list(tmp_path.iterdir()) == [home]
    assert {path.name for path in home.iterdir()} >= {"blobs", "cache", "evergreen.db", "shared"}
    with sqlite3.connect(home / "evergreen.db") as rows:
        assert rows.execute("SELECT id FROM predictions").fetchall() == [
            (prediction["prediction_id"],)
        ]
    rows.close()
    # A second start finds all of it.
    store = open_store(settings)
    with store.db.read() as conn:
        (digest,) = conn.exec_driver_sql("SELECT image FROM predictions").scalars()
    assert store.blobs.get(digest) == image
    store.db.close()
