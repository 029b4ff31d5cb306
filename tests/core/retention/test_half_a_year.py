"""Half a year in fast motion: people predict, label and retrain every day. The home levels off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from sqlalchemy import func, select

from core import leases, predictions, runs
from core.ids import new_id
from core.inputs.kind import Limits
from core.labelling import embeddings, intake, labels
from core.labelling.intake import LabelRequest
from core.models.backbones import Runtime
from core.models.servable import load
from core.predictions import Prediction
from core.registry import activations, promotions, versions
from core.retention import storage
from core.retention.capture import Capture
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.retention.rows import MIN_RUNS
from core.retention.sweep import Sweeper
from core.shadows import answers
from core.shadows.answers import ShadowAnswer
from core.store import schema
from core.store.blobs import sha256
from core.store.free_disk import FreeDisk
from core.store.store import Store
from core.system import files
from tests.support import images, tiny

# Slow: half a year takes seconds. Not in `make check`.
pytestmark = pytest.mark.slow

DAY = 86_400.0
BEGIN = 20_000 * DAY
NUM_DAYS = 184
# The longest limit, and a month more.
LEVEL_AFTER = 75
PREDICTIONS_A_DAY = 3
SWEEP_EVERY = 5  # days
CAPTURE = CapturePolicy(max_days=15)
RETENTION = RetentionPolicy(
    prediction_days=60, run_days=30, version_days=30, idempotency_key_days=15
)
LIMITS = Limits()


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_fsync", lambda *_: None)


@dataclass
class Home:
    store: Store
    labelled: dict[str, bytes] = field(default_factory=dict)

    def live_a_day(self, day: int) -> None:
        now = BEGIN + day * DAY
        ids = list(self._predict(day, now))
        content, prediction_id = ids[0]
        request = LabelRequest(("cat", "dog")[day % 2], idempotency_key=f"key {day}")
        intake.label_prediction(self.store, prediction_id, request, LIMITS, now)
        self.labelled[sha256(content)] = content
        self._retrain(day, now)

    def _predict(self, day: int, now: float) -> Iterator[tuple[bytes, str]]:
        capture = Capture(CAPTURE, FreeDisk())
        for i in range(PREDICTIONS_A_DAY):
            # The last image of a day came yesterday too, so predictions share its blob.
            seed = 10 * day + 1 if i == PREDICTIONS_A_DAY - 1 else 10 * (day + 1) + i
            content = images.png(8, 8, seed)
            row = Prediction(new_id(), sha256(content), 1, "cat", 0.9, 0.8, now + i)
            row = capture.decide(row, len(content), np.ones(4, np.float32))
            self.store.blobs.put(content, durable=False)
            predictions.add(self.store.db, [row])
            with self.store.db.write(durable=False) as conn:
                answers.add(conn, [ShadowAnswer(row.id, 1, "dog", 2, False)], now)
            yield content, row.id

    def _retrain(self, day: int, now: float) -> None:
        """A run that publishes a version and makes it champion. The backbone changes at times."""
        with self.store.db.write(durable=False) as conn:
            run, _ = runs.request(conn, trigger="labels", now=now)
            leases.claim(conn, "trainer", now)
            snapshot = labels.newest_id(conn)
            runs.set_snapshot(conn, run.id, snapshot, {}, num_trained=10)
        manifest = tiny.make_manifest(
            self.store.blobs,
            backbone_seed=day // 30,
            head_seed=day,
            run_id=run.id,
            snapshot=snapshot,
            created_at=now,
        )
        with self.store.db.write(durable=False) as conn:
            rows = labels.current(conn, snapshot)
            rows = rows if day % 30 == 0 else rows[-1:]
            vectors = [(row.example_id, np.ones(4, np.float32)) for row in rows]
            embeddings.put(conn, manifest.backbone, vectors)
            number = versions.publish(conn, self.store, manifest, tiny.PASSED).version
            leases.finish(
                conn,
                run.id,
                "trainer",
                state="finished",
                now=now,
                outcome="promoted",
                version=number,
            )
            promotions.request(conn, number, who="trainer", why="better", now=now)
            promotions.advance(conn, now)

    def sizes(self, sweeper: Sweeper) -> dict[str, int]:
        """How many there are of what must level off: of all but labels, their images, the rows that
        these name, and a row for each version."""
        uses = storage.measure(self.store, sweeper.files, None)
        kinds = ("other-images", "versions", "to-delete")
        found = {use.kind: use.num_items for use in uses if use.kind in kinds}
        with self.store.db.read() as conn:
            for table in (schema.predictions, schema.shadow_answers, schema.runs):
                query = select(func.count()).select_from(table)
                found[table.name] = conn.execute(query).scalar_one() - self._num_labelled(table)
            backbones = select(schema.embeddings.c.backbone).distinct()
            found["backbones"] = len(conn.execute(backbones).all())
            has_key = schema.labels.c.idempotency_key.is_not(None)
            found["keys"] = conn.execute(select(func.count()).where(has_key)).scalar_one()
        return found

    def _num_labelled(self, table: object) -> int:
        return 0 if table is schema.runs else len(self.labelled)

    def blob_bytes(self) -> int:
        root = self.store.blobs._root  # type: ignore[attr-defined]
        return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_home_levels_off_and_everything_that_was_learnt_stays(sqlite_store: Store) -> None:
    home = Home(sqlite_store)
    sweeper = Sweeper(sqlite_store, CAPTURE, RETENTION)
    history: list[dict[str, int]] = []
    unlabelled_bytes: list[int] = []
    for day in range(NUM_DAYS):
        home.live_a_day(day)
        if day % SWEEP_EVERY:
            continue
        list(sweeper.sweep(BEGIN + day * DAY + 3600))
        if day >= LEVEL_AFTER:
            history.append(home.sizes(sweeper))
            labelled = sum(map(len, home.labelled.values()))
            unlabelled_bytes.append(home.blob_bytes() - labelled)
    largest = {kind: max(found[kind] for found in history) for kind in history[0]}
    slack = SWEEP_EVERY + 1
    # Of three predictions a day one is labelled, and one has the image of another.
    assert largest == {
        "other-images": pytest.approx(15, abs=slack),
        "predictions": pytest.approx(60 * 2, abs=2 * slack),
        "shadow_answers": pytest.approx(60 * 2, abs=2 * slack),
        "runs": pytest.approx(MIN_RUNS, abs=slack),
        "versions": pytest.approx(30, abs=slack),
        "keys": pytest.approx(15, abs=slack),
        # Of the first version, and of the versions of 30 days, in which it changes once.
        "backbones": 3,
        "to-delete": 0,
    }
    early, late = max(unlabelled_bytes[:10]), max(unlabelled_bytes[10:])
    assert late <= 1.1 * early, unlabelled_bytes

    assert all(sqlite_store.blobs.get(digest) == each for digest, each in home.labelled.items())
    with sqlite_store.db.read() as conn:
        current = labels.current(conn)
        live, before = promotions.newest_activation(conn), activations.version_before(conn)
        assert live is not None
        assert before is not None
        rows = [versions.get(conn, number) for number in (live.version, before)]
        trained = [runs.get(conn, str(row.run_id)) for row in rows]
        vectors = embeddings.get(conn, rows[0].backbone, [row.example_id for row in current])
    assert len(current) == len(vectors) == NUM_DAYS
    assert [run.snapshot for run in trained] == [row.snapshot for row in rows]
    for row in rows:
        manifest = versions.read_manifest(row, sqlite_store)
        assert load(manifest, sqlite_store.blobs, Runtime("cpu")).version == row.number
    tiny.activate(sqlite_store, before, BEGIN + NUM_DAYS * DAY)
