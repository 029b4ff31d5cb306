"""Rows: old ones go, and what labels and versions refer to stays."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, insert, select

from core import predictions, runs
from core.ids import new_id
from core.labelling import labels
from core.predictions import Prediction
from core.retention import rows
from core.retention.policy import RetentionPolicy
from core.shadows import answers
from core.shadows.answers import ShadowAnswer
from core.store import schema
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.retention.swept_store import (
    DAY,
    NOW,
    get,
    image,
    label,
    label_by_id,
    predict,
    sweep,
)
from tests.support import tiny


def end_run(store: Store, days_ago: float, tier: str = "head", snapshot: int = 0) -> str:
    with store.db.write(durable=False) as conn:
        run, _ = runs.request(conn, trigger="request", now=NOW - days_ago * DAY, tier=tier)
        runs.set_snapshot(conn, run.id, snapshot, {}, num_trained=10)
        runs.end(conn, schema.runs.c.id == run.id, "finished", NOW - days_ago * DAY)
    return run.id


def run_ids(store: Store) -> set[str]:
    with store.db.read() as conn:
        return {run.id for run in runs.listing(conn, 10_000)}


def test_old_prediction_goes_with_its_image_and_shadow_answers(store: Store) -> None:
    old, new = predict(store, image(1), 366), predict(store, image(2), 364)
    with store.db.write() as conn:
        answers.add(conn, [ShadowAnswer(each, 2, "dog", 1, False) for each in (old, new)], NOW)
    sweep(store)
    assert (get(store, old) is None, get(store, new) is None) == (True, False)
    assert not store.blobs.has(sha256(image(1)))
    with store.db.read() as conn:
        kept = conn.execute(select(schema.shadow_answers.c.prediction_id)).scalars().all()
    assert kept == [new]


def test_prediction_that_was_labelled_by_id_stays(store: Store) -> None:
    prediction_id = predict(store, image(1), 1000)
    label_by_id(store, prediction_id)
    for seed in range(2, 6):
        predict(store, image(seed), 999)
    sweep(store)
    assert get(store, prediction_id) is not None
    with store.db.read() as conn:
        assert conn.execute(select(func.count()).select_from(schema.predictions)).scalar() == 1


def test_predictions_beyond_the_number_go_oldest_first(store: Store) -> None:
    ids = [predict(store, image(1), days) for days in range(10)]
    sweep(store, retention=RetentionPolicy(max_predictions=4, prediction_days=0))
    assert [get(store, each) is not None for each in ids] == [True] * 4 + [False] * 6


def test_predictions_of_one_moment_are_all_swept(sqlite_store: Store) -> None:
    row = Prediction("", "a" * 64, 1, "cat", 0.9, 0.8, NOW - 400 * DAY, kept_bytes=None)
    predictions.add(sqlite_store.db, [replace(row, id=new_id()) for _ in range(450)])
    sweep(sqlite_store)
    with sqlite_store.db.read() as conn:
        assert conn.execute(select(func.count()).select_from(schema.predictions)).scalar() == 0


def test_old_runs_go_without_those_that_are_needed(store: Store) -> None:
    with_version = end_run(store, 900)
    tiny.publish(store, tiny.plain_manifest(run_id=with_version))
    last_blocks = end_run(store, 800, "blocks")
    newest_snapshot = end_run(store, 700, snapshot=9)
    for _ in range(rows.MIN_RUNS + 20):
        end_run(store, 600)
    newest = end_run(store, 500)
    sweep(store)
    kept = run_ids(store)
    assert kept >= {with_version, last_blocks, newest_snapshot, newest}
    assert len(kept) <= rows.MIN_RUNS + 4
    with store.db.read() as conn:
        assert runs.newest_snapshot(conn) == 9


def test_unfinished_and_young_runs_stay(store: Store) -> None:
    with store.db.write() as conn:
        waiting, _ = runs.request(conn, trigger="request", now=0.0)
    assert len(run_ids(store)) == 1
    sweep(store)
    assert run_ids(store) == {waiting.id}


def test_old_idempotency_keys_are_forgotten(store: Store) -> None:
    label(store, image(1), 31, key="old")
    label(store, image(2), 29, key="new")
    sweep(store)
    with store.db.read() as conn:
        assert labels.by_idempotency_key(conn, "old") is None
        assert labels.by_idempotency_key(conn, "new") is not None
        assert labels.get(conn, 1) is not None
    label(store, image(3), key="old")


def test_limits_of_zero_keep_all(store: Store) -> None:
    predict(store, image(1), 5000)
    label(store, image(2), 5000, key="k")
    with store.db.write() as conn:
        values = {"tier": "head", "state": "finished", "trigger": "t", "parameters": {}}
        values |= {"step": "", "progress": 1.0, "attempts": 1, "is_cancel_requested": False}
        ended = [{"id": str(i), "created_at": i, "finished_at": i} | values for i in range(1, 201)]
        conn.execute(insert(schema.runs), ended)
    policy = RetentionPolicy(
        prediction_days=0, run_days=0, version_days=0, idempotency_key_days=0, max_runs=0
    )
    sweep(store, retention=policy)
    assert len(run_ids(store)) == 200
    with store.db.read() as conn:
        assert labels.by_idempotency_key(conn, "k") is not None
        assert conn.execute(select(func.count()).select_from(schema.predictions)).scalar() == 1
