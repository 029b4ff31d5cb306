"""What a home of texts answers names no images."""

from __future__ import annotations

import re
from pathlib import Path

from service.inference.serving_process import ServingProcess
from tests.service.conftest import client_of, settings_in
from tests.support import tiny_text

NO_ID = "01a1fd2e-c924-7743-a238-e97bfac134a3"


def test_home_of_texts_names_no_images(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[capture]\nkeep = "none"\n')
    settings = settings_in(tmp_path / "texts").model_copy(update={"recipe": recipe})
    tiny_text.open_home(settings).db.close()
    serving = ServingProcess.start(settings)
    try:
        with client_of(serving) as client:
            key = {"Idempotency-Key": "one"}
            label = {"text": "an invoice", "label": "billing"}
            example = client.post("/v1/feedback", json=label, headers=key).json()["example_id"]
            kept = client.post("/v1/predict", json={"text": "a crash"}).json()["prediction_id"]
            answers = [
                client.get("/v1/queue"),
                client.get("/v1/queue", params={"by": "unfamiliar"}),
                client.get("/v1/learning-curve"),
                client.post("/v1/retrain", json={}),
                client.get(f"/v1/predictions/{NO_ID}/text"),
                client.get(f"/v1/predictions/{kept}/text"),
                client.post("/v1/feedback", json={"prediction_id": NO_ID, "label": "bug"}),
                client.post("/v1/feedback", json={"prediction_id": kept, "label": "bug"}),
                client.post("/v1/feedback", json=label | {"label": "bug"}, headers=key),
                client.delete(f"/v1/examples/{example}"),
                client.get(f"/v1/examples/{example}/text"),
                client.delete(f"/v1/lost-images/{example}"),
            ]
    finally:
        serving.stop()
    # Names of fields, of problems and of paths are the same in every home.
    fixed = r'"image":|image-not-kept|/v1/lost-images'
    for answer in answers:
        assert not re.search("image|photo", re.sub(fixed, "", answer.text)), answer.text
