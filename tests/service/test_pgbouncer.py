"""Everything through PgBouncer in transaction mode, where clients share a few sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from core.settings import Settings
from core.store import schema
from core.store.database import Database
from service.inference.serving_process import ServingProcess
from tests.core.rows import PREDICTION, num_predictions
from tests.service import trained_home
from tests.service.conftest import client_of
from tests.support import pgbouncer
from tests.support.concurrency import in_threads

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(empty_postgres_url: str) -> Iterator[str]:
    with pgbouncer.before(empty_postgres_url) as pooled:
        yield pooled


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    opened = Database(url)
    opened.ensure_schema()
    yield opened
    opened.close()


def test_more_clients_than_sessions_lose_nothing(db: Database) -> None:
    def write(thread: int) -> None:
        for number in range(20):  # a driver prepares a statement that it sees often
            with db.write() as conn:
                conn.execute(
                    insert(schema.predictions).values(id=f"{thread}-{number}", **PREDICTION)
                )
            num_predictions(db)

    in_threads(2 * pgbouncer.NUM_SESSIONS, write)
    assert num_predictions(db) == 2 * pgbouncer.NUM_SESSIONS * 20


def test_read_sees_one_moment(db: Database) -> None:
    count = select(func.count()).select_from(schema.predictions)
    with db.read() as conn:
        before = conn.execute(count).scalar_one()
        with db.write() as other:
            other.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        assert conn.execute(count).scalar_one() == before == 0


@pytest.mark.slow
def test_labels_train_a_version_that_is_served(url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url=url, device="cpu", workers=1)
    trained_home.train_version_2(settings)
    serving = ServingProcess.start(settings)
    image = ("a.png", trained_home.FAMILIAR, "image/png")
    with client_of(serving) as client:
        for _ in range(20):
            answer = client.post("/v1/predict", files={"image": image}).json()
            assert (answer["version"], answer["label"]) == (2, "red")
        correction = {"prediction_id": answer["prediction_id"], "label": "blue"}
        assert client.post("/v1/feedback", json=correction).status_code == 201
    serving.stop()
