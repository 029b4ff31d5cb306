"""A champion that was trained on twin classes is replaced by a challenger of the merged class."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.store import schema
from core.store.store import Store
from tests.training.digits_store import digits_of, label, live, retrain
from training.pipeline import run as run_module
from training.worker.trainer import Trainer


# With 240 labels the gate cross-validates, and refits the champion. With 700 it has a hold-out.
@pytest.mark.slow
@pytest.mark.parametrize("num_labels", [240, 700])
def test_challenger_is_not_held_back_for_a_class_that_was_merged(
    starter_store: Store, trainer: Trainer, num_labels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a trainer of that older release, which joined no twins.
    monkeypatch.setattr(run_module, "join_labels_of_older_release", lambda db: None)
    photos = digits_of("three", "eight", "five", "one")
    given = label(starter_store, photos[:num_labels])
    threes = [each.event.id for each in given if each.event.label == "three"]

    def rename(event_ids: list[int], name: str) -> None:
        """Rewrite labels as an older release stored them, or as the migration merges them."""
        with starter_store.db.write() as conn:
            conn.execute(
                update(schema.labels).where(schema.labels.c.id.in_(event_ids)).values(label=name)
            )

    rename(threes[::3], "Three")
    retrain(starter_store, trainer)
    assert live(starter_store).classes == ("Three", "eight", "five", "one", "three")
    rename(threes, "THREE")
    run = retrain(starter_store, trainer)
    assert run.outcome == "promoted", run.reason
    assert live(starter_store).classes == ("THREE", "eight", "five", "one")
    assert run.reason is not None
    assert "added" not in run.reason
