"""An installation whose version 2 tells red scenes from blue ones, trained by a real run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from core import runs
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.models.pretrained import starter
from core.registry import promotions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store
from service.inference.serving_process import ServingProcess
from tests.support import images
from tests.support.wait import wait_until
from training.worker.trainer import Trainer

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}
NUM_OF_EACH = 8


def tinted(name: str, seed: int) -> bytes:
    scene = images.scene(120, 96, seed)
    return images.encode(
        Image.blend(scene, Image.new("RGB", scene.size, COLOURS[name]), 0.6), "PNG"
    )


# A labelled image, and one unlike them all.
FAMILIAR = tinted("red", 0)
UNFAMILIAR = images.encode(Image.new("RGB", (120, 96), "white"), "PNG")


def label_some(store: Store, num_of_each: int = NUM_OF_EACH) -> None:
    for k, name in enumerate(COLOURS):
        for i in range(num_of_each):
            image = tinted(name, 1000 * k + i)
            intake.label_image(store, image, LabelRequest(name), Limits(), time.time())


@contextmanager
def running_trainer(settings: Settings) -> Iterator[Trainer]:
    """A trainer that runs in a thread."""
    trainer = Trainer.open(settings)
    thread = threading.Thread(target=trainer.serve)
    thread.start()
    try:
        yield trainer
    finally:
        trainer.stop()
        thread.join()


def begin_with_the_starter(settings: Settings) -> None:
    """Publish version 1 from the small starter: the tests predict often."""
    store = open_store(settings)
    ensure_first_version(store, starter.NAME)
    store.db.close()


def start_with_the_starter(settings: Settings) -> ServingProcess:
    begin_with_the_starter(settings)
    return ServingProcess.start(settings)


def train_version_2(settings: Settings) -> None:
    """Label both colours, and train until version 2 is champion."""
    begin_with_the_starter(settings)
    store = open_store(settings)
    label_some(store)
    with store.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=time.time())

    def has_ended() -> bool:
        with store.db.read() as conn:
            return runs.get(conn, run.id).is_finished

    with running_trainer(settings):
        wait_until(has_ended)
    with store.db.read() as conn:
        ended, newest = runs.get(conn, run.id), promotions.newest_activation(conn)
    assert ended.outcome == "promoted", ended
    assert newest is not None
    assert newest.version == 2
    store.db.close()
