"""Erase an image and all that was made of it, at the wish of whom it shows.

1. One durable transaction takes it out of every row, notes the erasure, and so out of learning.
2. Files follow: the image, its thumbnail, spooled predictions, caches of runs, and SQLite's log.

A crash leaves the erasure unfinished, and erasing once more does the second step again. What a
prediction, a label or a run that began before brings back is refused where it is written: by
`predictions.add_missing`, `embeddings.put`, `intake` and `training/pipeline/publish.py`. The
sweeper deletes predictions that were stored later than the erasure (`stragglers.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from core import audit, erased, predictions, runs
from core.audit import Actor
from core.erased import Erasure
from core.erasure import remains, saw
from core.errors import UnknownExample, UnknownPrediction
from core.labelling import blanking, labels
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.registry import promotions
from core.retention import analyses, doomed, stragglers, versions
from core.retention.policy import RetentionPolicy
from core.review import thumbnails
from core.review.thumbnails import ThumbnailCache
from core.runs import Run
from core.store.empty_wal import empty_wal
from core.store.schema import examples
from core.store.store import Store

# A reader of an older state, such as a backup, may take longer: then it is erased once more.
_WAL_PATIENCE_S = 5.0
_MAX_LISTED = 1_000
_MAX_ID = 2**63 - 1
_END_OF_TIME = 1e18


@dataclass(frozen=True, slots=True)
class Eraser:
    store: Store
    retention: RetentionPolicy
    # The cache of this machine.
    cache: Path
    # Deletes the spooled predictions of an image, and says how many.
    unspool: Callable[[str], int]
    # Versions that a setting names.
    named: Collection[int] = ()

    def erase_example(self, example_id: int, who: str, by: Actor | None = None) -> Erasure:
        """Erase the image of an example. Once more, it answers the same. `by` is for the audit.

        Raises UnknownExample, InvalidRequest, StoreError.
        """

        def find(conn: Connection) -> Erasure | str:
            known = 0 < example_id <= _MAX_ID
            earlier = erased.by_example(conn, example_id) if known else None
            query = select(examples.c.image).where(examples.c.id == example_id)
            image = conn.execute(query).scalar() if known else None
            if earlier is None and image is None:
                raise UnknownExample(f"example {example_id} does not exist")
            return earlier or str(image)

        return self._finish(self._begin(find, by or Actor(who), who, None))

    def erase_prediction(self, prediction_id: str, who: str, by: Actor | None = None) -> Erasure:
        """Erase the image of a prediction, with all predictions of it, and its example if it was
        labelled. Once more, it answers the same.

        Raises UnknownPrediction, InvalidRequest, StoreError.
        """

        def find(conn: Connection) -> Erasure | str:
            prediction = predictions.get(conn, prediction_id)
            if prediction is not None:
                return prediction.image
            earlier = erased.by_prediction(conn, prediction_id[:36])
            if earlier is None:
                raise UnknownPrediction(
                    f"prediction {prediction_id[:40]!r} does not exist; its row may have been "
                    "swept, or erased with another prediction of the same input"
                )
            return earlier

        return self._finish(self._begin(find, by or Actor(who), who, prediction_id))

    def _begin(
        self,
        find: Callable[[Connection], Erasure | str],
        by: Actor,
        who: str,
        prediction_id: str | None,
    ) -> Erasure:
        check_plain("who", who, MAX_WHO_CHARACTERS)
        with self.store.db.write() as conn:
            # No label, run or promotion is written meanwhile. In the order of a publishing run.
            labels.lock_order(conn)
            runs.lock(conn)
            promotions.lock(conn)
            found = find(conn)
            if isinstance(found, Erasure):
                return found
            erasure = self._erase_rows(conn, found, who, prediction_id)
            example, prediction = erasure.example_id, erasure.prediction_id
            subject = f"prediction {prediction}" if example is None else f"example {example}"
            detail = {"erasure": erasure.id, "prediction": prediction}
            audit.record(conn, by, "example.erased", subject, erasure.created_at, **detail)
            return erasure

    def _erase_rows(
        self, conn: Connection, image: str, who: str, prediction_id: str | None
    ) -> Erasure:
        now = self.store.db.clock()
        receipt: dict[str, Any] = {"who": who, "versions": [], "runs": [], "near_duplicates": []}
        values: dict[str, Any] = {"image": image, "prediction_id": prediction_id, "created_at": now}
        query = select(examples.c.id).where(examples.c.image == image)
        example_id = conn.execute(query).scalar()
        if example_id is not None:
            values |= self._erase_example(conn, example_id, who, now, receipt)
        gone = stragglers.delete_predictions(conn, image, _END_OF_TIME)
        receipt |= {"predictions": gone[0], "shadow_answers": gone[1], "spooled": 0}
        return erased.add(conn, **values, receipt=receipt)

    def _erase_example(
        self, conn: Connection, example_id: int, who: str, now: float, receipt: dict[str, Any]
    ) -> dict[str, Any]:
        sights = saw.versions_that_saw(conn, example_id)
        near = saw.near_duplicates(conn, example_id, _MAX_LISTED)
        blanking.retract_all(conn, example_id, who=who, now=now)
        first, last = blanking.first_and_last_event(conn, example_id)
        blanked = blanking.blank(conn, example_id)
        by_examples = [each.version for each in sights if each.by_examples]
        erased.add_versions(conn, by_examples, now)
        if self.retention.erased_versions != "never":
            promotions.withdraw(conn, by_examples, "an example that it saw was erased")
        again = [run for run in runs.unfinished(conn) if _is_tuning_on(run, first)]
        for run in again:
            runs.cancel(conn, run.id, now)
            wanted = run.parameters.get("wanted")
            runs.request(conn, trigger="erasure", tier=run.tier, wanted=wanted, now=now)
        if sights and self.retention.erased_versions == "at-once":
            runs.request(conn, trigger="erasure", now=now)
        receipt |= {
            "thumb": blanked.thumb,
            "embeddings": blanked.embeddings,
            "labels": blanked.labels,
            "idempotency_keys": blanked.num_keys,
            "near_duplicates": near,
            "analyses": 0 if first is None else analyses.delete_since(conn, first),
            "versions": [saw.to_json(conn, each, self.retention) for each in sights],
            "runs": [run.id for run in again],
        }
        return {"example_id": example_id, "first_event": first, "last_event": last}

    def _finish(self, erasure: Erasure) -> Erasure:
        if erasure.finished_at is not None:
            return erasure
        store, now = self.store, self.store.db.clock()
        doomed.delete_image(store, erasure.image, now)
        while doomed.delete_analyses(store, now).num_items:
            pass
        receipt = dict(erasure.receipt)
        receipt["spooled"] += self.unspool(erasure.image)
        cache = ThumbnailCache(thumbnails.folder_in(self.cache), 0, store.kind)
        receipt["thumbnails"] = receipt.get("thumbnails", 0) + cache.remove(erasure.image)
        for run_id in receipt["runs"]:
            shutil.rmtree(self.cache / "runs" / run_id, ignore_errors=True)
        if self.retention.erased_versions == "at-once":
            self._retire()
        is_emptied = empty_wal(store.db, _WAL_PATIENCE_S)
        receipt["remains"] = remains.describe(store, erasure.created_at, receipt, is_emptied)
        with store.db.write() as conn:
            erased.record(conn, erasure.id, receipt, now if is_emptied else None)
            return erased.by_id(conn, erasure.id)

    def _retire(self) -> None:
        files, now = versions.Files(self.store), self.store.db.clock()
        while versions.retire(self.store, files, self.retention, self.named, now):
            pass
        files.load()
        while (gone := doomed.delete_files(self.store, files.needed, now)) and gone.num_items:
            pass


def _is_tuning_on(run: Run, first_event: int | None) -> bool:
    """Whether it may have cached what it made of the image."""
    snapshot = run.snapshot or 0
    return run.tier == "blocks" and first_event is not None and first_event <= snapshot
