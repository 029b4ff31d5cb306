"""First pages of lists in an old installation, as functions to time or to count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy import Connection, select, text

from core.audit import SERVICE
from core.exchange.exporting.labelled_set import read_page
from core.exchange.importing import jobs
from core.exchange.importing.known import known_labels
from core.labelling import classes, labels
from core.review import neighbours
from core.review.queue import show as queue
from core.store.schema import examples
from core.store.store import Store
from core.store.tables.review import imports
from service.api.access.caller import NOBODY
from service.api.routes.exchange import imports as import_routes
from service.api.routes.review import examples as example_routes
from service.api.routes.review import predictions as prediction_routes
from service.api.schemas.bodies import moment
from service.inference.serving_process import ServingProcess
from tests.support.analyses import Scored, analyse

# Examples of a page.
LIMIT = 100


def lists(serving: ServingProcess, store: Store) -> dict[str, Callable[[], object]]:
    """Stores an analysis that knows all examples, and suspects every tenth."""
    classes.join_labels_of_older_release(store.db)  # as a start does
    with store.db.read() as conn:
        ids = list(conn.scalars(select(examples.c.id)))
    analyse(store, {number: _score(number) for number in ids})

    def of_examples(**query: Any) -> Callable[[], object]:
        return lambda: example_routes.listing(serving, NOBODY, limit=LIMIT, **query)

    middle = moment(2_000_000.0 + len(ids) / 2)
    after = example_routes.listing(serving, NOBODY, limit=LIMIT).next_after
    return {
        "GET /v1/examples": of_examples(),
        "GET /v1/examples, next page": of_examples(after=after),
        "GET /v1/examples?class=": of_examples(name="class 3"),
        "GET /v1/examples?class=&source=": of_examples(name="class 3", source="import"),
        "GET /v1/examples?held_out=true": of_examples(held_out=True),
        "GET /v1/examples?source=": of_examples(source="prediction", sort="oldest"),
        "GET /v1/examples?since=": of_examples(since=middle, sort="oldest"),
        "GET /v1/examples?labelled=false": of_examples(labelled=False),
        "GET /v1/examples?suspected=true": of_examples(suspected=True),
        "GET /v1/examples?agrees=false&class=": of_examples(agrees=False, name="class 3"),
        "GET /v1/examples?sort=suspicion": of_examples(sort="suspicion"),
        "GET /v1/examples?unfamiliar=true&sort=similarity": of_examples(
            unfamiliar=True, sort="similarity"
        ),
        "GET /v1/predictions": lambda: prediction_routes.listing(serving, NOBODY, limit=LIMIT),
        "GET /v1/predictions?label=": lambda: prediction_routes.listing(
            serving, NOBODY, limit=LIMIT, label="class 3"
        ),
        **_queue(serving, store),
        **_exchange(serving, store),
    }


def _queue(serving: ServingProcess, store: Store) -> dict[str, Callable[[], object]]:
    """Most kept predictions are labelled, as in a home whose people label a lot."""
    champion = serving.slot.current()

    def show(by: queue.By) -> Callable[[], object]:
        options: dict[str, Any] = {"limit": LIMIT, "reviewer": "ann", "actor": SERVICE}
        return lambda: queue.show(store, champion, serving.analyses.get(), by=by, **options)

    return {f"GET /v1/queue?by={by}": show(by) for by in queue.KINDS} | {
        "GET /v1/neighbours": lambda: _nearest(serving, store)
    }


def _nearest(serving: ServingProcess, store: Store) -> object:
    backbone = serving.slot.current().manifest.backbone
    with store.db.read() as conn:
        query = neighbours.of_example(conn, 1, backbone)
    x_D = np.ones(serving.slot.current().manifest.embedding_size, np.float32)
    return serving.neighbours.nearest(query, x_D, backbone, LIMIT, None)


def _exchange(serving: ServingProcess, store: Store) -> dict[str, Callable[[], object]]:
    """Imports that ended, and what is asked of labels for each page or chunk of images."""
    _add_imports(store)
    with store.db.read() as conn:
        newest = labels.newest_id(conn)
        images = list(conn.scalars(select(examples.c.image).limit(32)))

    def reading(read: Callable[[Connection], object]) -> Callable[[], object]:
        def run() -> object:
            with store.db.read() as conn:
                return read(conn)

        return run

    return {
        "GET /v1/imports": lambda: import_routes.listing(serving, LIMIT, None),
        "imports that wait": lambda: jobs.is_any_unfinished(store.db),
        "GET /v1/export, a page": reading(
            lambda conn: read_page(conn, newest, after=newest // 3, limit=LIMIT)
        ),
        "known labels of an import": reading(lambda conn: known_labels(conn, images)),
    }


def _add_imports(store: Store) -> None:
    """As many as there are examples."""
    query = """
        INSERT INTO imports (id, state, name, num_bytes, who, host, position, report,
            is_cancel_requested, created_at, finished_at)
        SELECT CAST(id AS VARCHAR), 'finished', 'photos.zip', 0, 'ann', 'here', 0, '{}', false,
            created_at, created_at
        FROM examples
    """
    with store.db.write() as conn:
        if conn.execute(select(imports.c.id).limit(1)).first() is None:
            conn.execute(text(query))
            conn.execute(text("ANALYZE imports"))


def _score(number: int) -> Scored:
    is_suspected = number % 10 == 3
    name = f"class {(number + is_suspected) % 10}"
    probability = 0.1 + number % 7 / 20 if is_suspected else 0.6 + number % 7 / 20
    return Scored(name, probability, number % 100 / 100, number % 20 == 0)
