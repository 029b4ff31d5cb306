"""What must not take longer in an old installation, as functions to time or to count."""

from __future__ import annotations

import time
from collections.abc import Callable

from core import runs
from core.inputs.kind import Limits
from core.labelling import intake, labels
from core.labelling.census import read_census
from core.labelling.intake import LabelRequest
from core.registry import activations, promotions, versions
from core.registry.latest import Latest
from core.settings import Settings
from core.store.store import Store
from service.api.routes import runs as run_routes
from service.api.routes import status as status_routes
from service.api.routes import versions as version_routes
from service.api.routes.labels import batches as batch_routes
from service.api.routes.labels import classes as class_routes
from service.inference.serving_process import ServingProcess
from tests.support import images, large_home
from tests.support.large_home import Size
from tests.support.large_home_lists import lists
from training.recipe import Recipe, TriggerRecipe
from training.worker.learnable import can_learn
from training.worker.planner_input import read_planner_input
from training.worker.self_healing import SelfHealing
from training.worker.trainer import Trainer

Operations = dict[str, Callable[[], object]]


def operations(settings: Settings, store: Store, size: Size) -> Operations:
    """Each may be called several times. Those that change the champion come last."""
    serving = ServingProcess(settings, store)
    serving.swap._follower.start()  # the champion, without threads that poll meanwhile
    rarely = TriggerRecipe(after_labels=0, quiet_period_s=0, every_s=1e9)
    trainer = Trainer(store, Recipe(triggers=rarely), settings)
    champion = size.versions

    def reading(read: Callable[..., object], *values: object) -> Callable[[], object]:
        def run() -> object:
            with store.db.read() as conn:
                return read(conn, *values)

        return run

    return {
        "GET /v1/status": lambda: status_routes.status(serving),
        "GET /metrics": lambda: status_routes.scrape(serving),
        "GET /v1/versions": lambda: version_routes.listing(serving, 50, None),
        "GET /v1/versions/1": lambda: version_routes.one(1, serving),
        "GET /v1/versions/{shadow}": lambda: version_routes.one(champion - 1, serving),
        "GET /v1/classes": lambda: class_routes.listing(serving, 100, None, None),
        "GET /v1/batches": lambda: batch_routes.listing(serving, 100, None),
        "GET /v1/runs": lambda: run_routes.listing(serving, 50),
        **lists(serving, store),
        "POST /v1/feedback, a new image": Feedback(store).label_new,
        "POST /v1/feedback, a prediction": lambda: _label_prediction(store),
        "count of rollbacks (count_by)": reading(activations.count_by, promotions.SELF_HEALING),
        "newest label before a champion": reading(activations.newest_label_before, champion),
        "labels that wait (count_after)": reading(labels.count_after, 0),
        "census": reading(read_census),
        "last run of a rare tier": reading(runs.last_of, ("blocks",)),
        "first version of a backbone": reading(versions.first_of_backbone, "none"),
        "planner input": lambda: read_planner_input(store),
        "trainer's tick with a new label": Ticks(store, trainer).tick,
        "self-healing, after a new label": Healing(store).check,
        "whether a run can learn": reading(can_learn, 0),
        "promotion and activation": Promotions(store, champion).promote_next,
        "rollback to the version before": Promotions(store, champion).roll_back,
        "rollback to version 1": lambda: Promotions(store, 1).roll_back(),
    }


class Feedback:
    """Labels images that are all new, of a class that is large."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seed = 0

    def label_new(self) -> None:
        self._seed += 1
        content = images.png(32, 32, self._seed)
        request = LabelRequest("class 1")
        intake.label_image(self._store, content, request, Limits(), time.time())


def _label_prediction(store: Store) -> None:
    """Its image is an example already."""
    request = LabelRequest("class 2")
    intake.label_prediction(store, large_home.prediction_id(5), request, Limits(), time.time())


class Promotions:
    """What is read and written under the lock of a swap, where no worker is alive."""

    def __init__(self, store: Store, number: int) -> None:
        self._store = store
        self._number = number

    def promote_next(self) -> None:
        self._number = max(2, self._number - 1)
        self._promote(self._number)

    def roll_back(self) -> None:
        with self._store.db.read() as conn:
            before = activations.version_before(conn)
        self._promote(1 if self._number == 1 else before or 1)

    def _promote(self, number: int) -> None:
        with self._store.db.write() as conn:
            promotions.request(conn, number, who="ann", why="bench", now=time.time())
            promotions.advance(conn, time.time())


class Ticks:
    """The trainer polls and finds a label that fires no trigger yet."""

    def __init__(self, store: Store, trainer: Trainer) -> None:
        self._store = store
        self._trainer = trainer

    def tick(self) -> None:
        _label_prediction(self._store)
        self._trainer._request_if_due(time.time())


class Healing:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._healing = SelfHealing(store)
        self._now = 5_000_000.0
        with store.db.read() as conn:
            self._activation = activations.history(conn, 1)[0]

    def check(self) -> None:
        self._now += 1.0
        _label_prediction(self._store)
        with self._store.db.read() as conn:
            newest = labels.newest_id(conn)
        self._healing.check(self._now, Latest(activation=self._activation, newest_label=newest))
