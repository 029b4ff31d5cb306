"""A state machine that labels, retracts, trains, promotes and restarts, beside a plain model.

It speaks HTTP to a serving process in this process, and lets a trainer work between the
steps. The backbone has one kilobyte, so a run takes a tenth of a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from core.labelling import labels
from core.registry import versions
from core.settings import Settings
from core.store.store import Store, open_store
from service.inference.serving_process import ServingProcess
from tests.service.client import label_image, label_prediction, predict
from tests.service.conftest import client_of
from tests.service.loop_images import NAMES, content, names
from tests.service.loop_model import Keyed, Model
from training.recipe import Recipe
from training.worker.trainer import Trainer

IMAGES = st.sampled_from(NAMES)
LABELS = st.sampled_from(["red", "Red", "blue", "green"])
KEYS = st.sampled_from([f"key-{k}" for k in range(8)])
MAX_TICKS = 50


class Loop(RuleBasedStateMachine):
    def __init__(self, new_home: Callable[[], Path]) -> None:
        super().__init__()
        self.settings = Settings(home=new_home(), device="cpu", workers=1, self_healing=False)
        self.model = Model()
        self.predicted: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.serving = ServingProcess.start(self.settings)
        self.client = client_of(self.serving)
        self.client.__enter__()
        self.trainer_store = open_store(self.settings)
        self.trainer = Trainer(self.trainer_store, Recipe(), self.settings)

    def stop(self) -> None:
        self.trainer_store.db.close()
        self.client.__exit__(None, None, None)
        self.serving.stop()

    @property
    def store(self) -> Store:
        return self.serving.store

    @initialize()
    def label_enough_to_train(self) -> None:
        for image, label in (
            ("0.png", "red"),
            ("3.png", "red"),
            ("1.png", "blue"),
            ("4.png", "blue"),
        ):
            self.label(image, label)

    @rule(image=IMAGES, label=LABELS)
    def label_one(self, image: str, label: str) -> None:
        self.label(image, label)

    def label(self, image: str, label: str) -> None:
        answer = label_image(self.client, content(image), label)
        assert answer.status_code == 201, answer.text
        self.took(answer.json(), image, label)

    @rule(chosen=st.lists(IMAGES, min_size=2, max_size=8), label=LABELS)
    def label_several(self, chosen: list[str], label: str) -> None:
        for image in chosen:
            self.label(image, label)

    @rule(data=st.data(), image=IMAGES, label=LABELS, key=KEYS)
    def label_with_a_key(self, data: st.DataObject, image: str, label: str, key: str) -> None:
        before = self.model.keyed.get(key)
        if before is not None and data.draw(st.booleans(), "send the same again"):
            image, label = before.image, before.label
        answer = label_image(self.client, content(image), label, headers={"Idempotency-Key": key})
        if before is None:
            assert answer.status_code == 201, answer.text
            self.took(answer.json(), image, label)
            self.model.keyed[key] = Keyed(image, label, self.model.events[-1])
        elif (image, label.lower()) == (before.image, before.label.lower()):
            assert (answer.status_code, answer.json()["id"]) == (200, before.event.id)
        else:
            assert answer.json()["code"] == "idempotency-conflict", answer.text

    @rule(image=IMAGES)
    def predict(self, image: str) -> None:
        self.predicted[image] = predict(self.client, content(image))

    @precondition(lambda self: self.predicted)
    @rule(data=st.data(), label=LABELS)
    def label_by_id(self, data: st.DataObject, label: str) -> None:
        image = data.draw(st.sampled_from(sorted(self.predicted)), "image")
        answer = label_prediction(self.client, self.predicted[image], label)
        assert answer.status_code == 201, answer.text
        self.took(answer.json(), image, label)

    @precondition(lambda self: self.model.events)
    @rule(data=st.data())
    def retract(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.model.events), "event")
        answer = self.client.delete(f"/v1/feedback/{event.id}")
        assert (answer.status_code, answer.json()["retracts"]) == (200, event.id)
        self.model.retract(event, answer.json()["id"])

    @rule(past=st.integers(1, 5))
    def retract_nothing(self, past: int) -> None:
        answer = self.client.delete(f"/v1/feedback/{self.model.newest_event + past}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-feedback")

    @rule()
    def retrain(self) -> None:
        answer = self.client.post("/v1/retrain")
        if not self.model.can_train:
            assert answer.json()["code"] == "not-enough-labels", answer.text
            return
        assert answer.status_code == 202, answer.text
        run = self.finish(answer.json()["id"])
        assert (run["state"], run["snapshot"]) == ("finished", self.model.newest_event), run
        self.model.publish(run["version"])
        version = self.client.get(f"/v1/versions/{run['version']}").json()
        assert [version[key] for key in ("run_id", "classes", "snapshot")] == [
            run["id"],
            self.model.classes,
            run["snapshot"],
        ]
        if run["outcome"] == "promoted":
            self.model.promote(run["version"])

    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        self.put_champion(data.draw(st.integers(1, self.model.newest_version), "version"))

    @precondition(lambda self: self.model.previous)
    @rule()
    def roll_back(self) -> None:
        assert self.model.previous is not None
        self.put_champion(self.model.previous)

    @rule(data=st.data())
    def promote_on_an_old_tag(self, data: st.DataObject) -> None:
        tag = int(self.champion().headers["ETag"].strip('"')) - 1
        version = data.draw(st.integers(1, self.model.newest_version), "version")
        answer = self.put(version, f'"{tag}"')
        assert (answer.status_code, answer.json()["code"]) == (412, "promotion-conflict")

    @rule()
    def restart(self) -> None:
        self.stop()
        self.start()

    @invariant()
    def labels_agree(self) -> None:
        with self.store.db.read() as conn:
            rows = labels.current(conn)
            assert labels.newest_id(conn) == self.model.newest_event
        assert {names()[row.image]: row.label for row in rows} == self.model.current
        assert all(row.is_held_out == self.model.is_held_out[names()[row.image]] for row in rows)
        status = self.client.get("/v1/status").json()
        assert status["labels"]["examples"] == self.model.num_trained
        assert status["labels"]["held_out"] == self.model.num_held_out
        assert status["version"] == self.model.live

    @invariant()
    def live_version_agrees(self) -> None:
        champion = self.champion().json()
        assert (champion["version"], champion["previous"]) == (
            self.model.live,
            self.model.previous,
        )

    def teardown(self) -> None:
        """Every version can still be trained again on what it was trained on."""
        try:
            with self.store.db.read() as conn:
                for number, (snapshot, labelled) in self.model.trained_on.items():
                    assert versions.get(conn, number).snapshot == snapshot
                    rows = labels.current(conn, snapshot)
                    assert {names()[row.image]: row.label for row in rows} == labelled
        finally:
            self.stop()

    def took(self, answer: dict[str, Any], image: str, label: str) -> None:
        """Check an acknowledged label, and enter it."""
        event = self.model.add(answer["id"], image, label)
        assert answer["label"] == event.label
        with self.store.db.read() as conn:
            row = next(r for r in labels.current(conn) if r.example_id == answer["example_id"])
        assert names()[row.image] == image
        side = self.model.is_held_out.setdefault(image, row.is_held_out)
        twin = image.split(".")[0] + (".jpg" if image.endswith("png") else ".png")
        assert side == row.is_held_out == self.model.is_held_out.get(twin, side)

    def champion(self) -> Any:
        return self.client.get("/v1/champion")

    def put(self, version: int, tag: str) -> Any:
        return self.client.put("/v1/champion", json={"version": version}, headers={"If-Match": tag})

    def put_champion(self, version: int) -> None:
        answer = self.put(version, self.champion().headers["ETag"])
        assert answer.status_code == 200, answer.text
        self.model.promote(version)

    def finish(self, run_id: str) -> dict[str, Any]:
        for _ in range(MAX_TICKS):
            self.trainer.tick(time.time())
            run: dict[str, Any] = self.client.get(f"/v1/runs/{run_id}").json()
            if run["finished_at"]:
                return run
        raise AssertionError(f"the run did not end: {run}")
