"""The transaction that writes labels by the hundred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, insert, select

from core.class_names import is_same
from core.errors import (
    EvergreenError,
    IdempotencyConflict,
    StoreError,
    UnknownExample,
    UnknownPrediction,
)
from core.labelling import batches, classes, examples, label_audit, labels
from core.labelling.bulk.targets import Target, example_ids
from core.labelling.examples import NewExample
from core.labelling.label_request import LabelRequest
from core.labelling.labels import LabelEvent
from core.labelling.swept_images import ImageSwept, check_not_swept, doom_again
from core.store import lost_blobs, schema
from core.store.blobs import Blobs, sha256
from core.store.store import Store
from core.store.tables.retention import doomed_blobs
from core.store.tables.tallies import current_labels

_EVENT = (
    schema.labels.c.idempotency_key,
    *(schema.labels.c[name] for name in LabelEvent.__dataclass_fields__),
)


@dataclass(frozen=True, slots=True)
class BulkResult:
    status: Literal["stored", "already", "refused"]
    event_id: int | None = None
    example_id: int | None = None
    error: EvergreenError | None = None
    # Of the events that the transaction writes.
    row: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class BulkResults:
    # None: nothing was stored.
    batch_id: int | None
    # In the order of the labels.
    results: list[BulkResult]


def store_labels(
    store: Store,
    targets: Sequence[Target | EvergreenError],
    prepared: Mapping[str, NewExample | EvergreenError],
    request: LabelRequest,
    now: float,
) -> BulkResults:
    """Store all labels that can be stored, in this order. They are durable when it returns.

    `request` has been checked, and its label is not used. `prepared` has the images that are no
    examples yet, by digest; they are in the blob store. A request whose key came before gets the
    same results; labels that were refused then are tried again.
    Raises IdempotencyConflict, StoreError.
    """
    with store.db.write() as conn:
        labels.lock_order(conn)
        return _Writing(conn, store.blobs, request, prepared, now).add_all(targets)


class _Newest(NamedTuple):
    """The current label of an example."""

    label: str
    who: str
    # Of its event; None: it is written in this transaction, as this row.
    event_id: int | None
    row: int = 0


class _Writing:
    """The state of one transaction."""

    def __init__(
        self,
        conn: Connection,
        blobs: Blobs,
        request: LabelRequest,
        prepared: Mapping[str, NewExample | EvergreenError],
        now: float,
    ) -> None:
        self._conn, self._blobs, self._request, self._now = conn, blobs, request, now
        self._prepared = prepared
        self._newest_before = labels.newest_id(conn)
        self._batch_id: int | None = None
        # False: the batch was undone, so further labels are a batch of their own.
        self._may_go_on = True
        self._names: dict[str, str] = {}
        # Label events in the order of their ids, and how many of them are written so far.
        self._rows: list[dict[str, Any]] = []
        self._num_written = 0

    def add_all(self, targets: Sequence[Target | EvergreenError]) -> BulkResults:
        conn, found = self._conn, [each for each in targets if isinstance(each, Target)]
        keys = [self._key(i) for i in range(len(targets))]
        rows = conn.execute(select(*_EVENT).where(schema.labels.c.idempotency_key.in_(keys)))
        self._earlier = {row[0]: LabelEvent(*row[1:]) for row in rows}
        if self._earlier:
            self._batch_id = max(event.batch_id or 0 for event in self._earlier.values())
            self._may_go_on = batches.get(conn, self._batch_id).undone_at is None
        self._example_ids = example_ids(conn, {each.image for each in found})
        named = {each.prediction.id for each in found if each.prediction is not None}
        ids = select(schema.predictions.c.id).where(schema.predictions.c.id.in_(named))
        self._predictions = set(conn.scalars(ids))
        lost_blobs.clear(conn, list(self._prepared))  # they have just been stored
        is_new = doomed_blobs.c.digest.in_(self._prepared)
        self._doomed = set(conn.scalars(select(doomed_blobs.c.digest).where(is_new)))
        current = (
            select(current_labels.c.example_id, current_labels.c.label, schema.labels.c.who)
            .add_columns(current_labels.c.event_id)
            .join(schema.labels, schema.labels.c.id == current_labels.c.event_id)
            .where(current_labels.c.example_id.in_(self._example_ids.values()))
        )
        self._newest = {row[0]: _Newest(*row[1:]) for row in conn.execute(current)}
        results = [self._add(keys[i], target) for i, target in enumerate(targets)]
        self._write_rows()
        return self._finish(results)

    def _key(self, i: int) -> str | None:
        """Each label has a key of its own, which no label that comes alone has."""
        key = self._request.stored_key
        return None if key is None else sha256(f"batch\n{key}\n{i}".encode())

    def _add(self, key: str | None, target: Target | EvergreenError) -> BulkResult:
        earlier = self._earlier.get(key)
        if earlier is not None:
            self._check_same(earlier, target)
            return BulkResult("stored", earlier.id, earlier.example_id)
        if isinstance(target, EvergreenError):
            return BulkResult("refused", error=target)
        try:
            return self._label(key, target)
        except EvergreenError as error:
            return BulkResult("refused", example_id=target.example_id, error=error)
        except ImageSwept as error:
            return BulkResult("refused", error=StoreError(str(error)))

    def _label(self, key: str | None, target: Target) -> BulkResult:
        prediction = target.prediction
        if prediction is not None and prediction.id not in self._predictions:
            doom_again(self._conn, target.image)  # it may have been stored for this label
            raise UnknownPrediction("this prediction was erased; send its input with the label")
        example_id = self._example_ids.get(target.image)
        if example_id is None:
            example_id = self._add_example(target)
        name = self._join(target.label)
        newest = self._newest.get(example_id)
        if newest is not None and newest[:2] == (name, self._request.who):
            return BulkResult("already", newest.event_id, example_id, row=newest.row)
        row = len(self._rows)
        self._newest[example_id] = _Newest(name, self._request.who, None, row)
        self._rows.append(
            {
                "example_id": example_id,
                "label": name,
                "who": self._request.who,
                "prediction_id": None if prediction is None else prediction.id,
                "idempotency_key": key,
                "created_at": self._now,
            }
        )
        return BulkResult("stored", None, example_id, row=row)

    def _add_example(self, target: Target) -> int:
        new = self._prepared.get(target.image)
        if isinstance(new, EvergreenError):
            raise new
        if new is None:
            raise UnknownExample("the example was erased meanwhile")
        self._write_rows()  # the hold-out side depends on how many its class has
        if target.image in self._doomed:
            check_not_swept(self._conn, self._blobs, target.image)
        example = examples.add(self._conn, new, self._join(target.label), self._now)
        self._example_ids[target.image] = example.id
        return example.id

    def _join(self, label: str) -> str:
        if label not in self._names:
            self._names[label] = classes.join(self._conn, label)
        return self._names[label]

    def _write_rows(self) -> None:
        rows = self._rows[self._num_written :]
        if not rows:
            return
        if not self._may_go_on or self._batch_id is None:
            self._batch_id = batches.add(self._conn, "feedback", self._request.who, {}, self._now)
            self._may_go_on = True
        for row in rows:
            row["batch_id"] = self._batch_id
        self._conn.execute(insert(schema.labels), rows)
        self._num_written = len(self._rows)

    def _finish(self, results: list[BulkResult]) -> BulkResults:
        batch_id = self._batch_id
        if not self._rows or batch_id is None:
            return BulkResults(batch_id, results)
        is_new = schema.labels.c.id > self._newest_before
        query = select(schema.labels.c.id).where(is_new, schema.labels.c.batch_id == batch_id)
        ids = list(self._conn.scalars(query.order_by(schema.labels.c.id)))
        counts = Counter(batches.get(self._conn, batch_id).detail)
        counts["stored"] += len(ids)
        for status in ("already", "refused"):
            counts[status] = sum(result.status == status for result in results)
        batches.set_detail(self._conn, batch_id, counts)
        label_audit.record_batch(self._conn, self._request.by, batch_id, ids, self._now)
        is_pending = [r.status != "refused" and r.event_id is None for r in results]
        return BulkResults(
            batch_id,
            [
                replace(result, event_id=ids[result.row]) if pending else result
                for result, pending in zip(results, is_pending, strict=True)
            ],
        )

    def _check_same(self, earlier: LabelEvent, target: Target | EvergreenError) -> None:
        if isinstance(target, EvergreenError):  # such as a prediction that was deleted since
            return
        is_same_class = earlier.label is None or is_same(earlier.label, target.label)
        if not is_same_class or self._example_ids.get(target.image) != earlier.example_id:
            raise IdempotencyConflict(
                f"the Idempotency-Key {self._request.idempotency_key!r} came before with other "
                "labels; use a new key for new labels"
            )
