"""The ledger: what the server acknowledged, and whether the store still says so at the end.

An acknowledged label is lost if its event is absent or other than it was sent, or its image is not
readable. It is doubled if two events have its Idempotency-Key or one retraction came twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from core import predictions
from core.errors import EvergreenError
from core.labelling import labels
from core.store.blobs import sha256
from core.store.store import Store

WHO = "bench.durability"


@dataclass(frozen=True, slots=True)
class Label:
    """What a client was told about its label."""

    event: int
    digest: str
    label: str


@dataclass
class Ledger:
    """For many threads."""

    # By Idempotency-Key.
    labels: dict[str, Label] = field(default_factory=dict)
    # The retraction of an event, by event.
    retractions: dict[int, int] = field(default_factory=dict)
    # The digest of the image, by prediction.
    predictions: dict[str, str] = field(default_factory=dict)
    sides: dict[str, bool] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    contradictions: list[str] = field(default_factory=list)
    longest_gap_s: float = 0.0
    _answered_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_label(self, key: str, label: Label) -> None:
        with self._lock:
            before = self.labels.setdefault(key, label)
            if before != label:
                self.contradictions.append(f"{key} was {before}, then {label}")

    def note_retraction(self, event: int, retraction: int) -> None:
        with self._lock:
            before = self.retractions.setdefault(event, retraction)
            if before != retraction:
                self.contradictions.append(f"{event} was retracted by {before} and {retraction}")

    def note_prediction(self, prediction_id: str, digest: str) -> None:
        with self._lock:
            self.predictions[prediction_id] = digest
            now = time.monotonic()
            if self._answered_at is not None:
                self.longest_gap_s = max(self.longest_gap_s, now - self._answered_at)
            self._answered_at = now

    def note_answer(self, what: str) -> None:
        with self._lock:
            self.answers[what] += 1

    def note_sides(self, store: Store) -> None:
        """Which images are held out. Raises StoreError."""
        with store.db.read() as conn:
            rows = labels.current(conn)
        for row in rows:
            if self.sides.setdefault(row.image, row.is_held_out) != row.is_held_out:
                self.contradictions.append(f"image {row.image} changed the side of the hold-out")


@dataclass(frozen=True, slots=True)
class Verdict:
    lost: list[str]
    doubled: list[str]
    # Predictions that were answered, whose row or image is not there.
    num_predictions_not_kept: int


def check(ledger: Ledger, store: Store) -> Verdict:
    """Compare the ledger with the store. Raises StoreError."""
    ledger.note_sides(store)
    lost, doubled = [], list(ledger.contradictions)
    with store.db.read() as conn:
        for key, told in ledger.labels.items():
            event = labels.by_idempotency_key(conn, key)
            if event is None or (event.id, event.label) != (told.event, told.label):
                lost.append(f"{key}: {told} is {event}")
        for event_id, retraction in ledger.retractions.items():
            found = labels.retraction_of(conn, event_id)
            if found is None or found.id != retraction:
                lost.append(f"retraction {retraction} of {event_id} is {found}")
        stored = {row.example_id: row for row in labels.current(conn)}
        kept = [
            store.blobs.has(digest)
            for prediction, digest in ledger.predictions.items()
            if predictions.get(conn, prediction) is not None
        ]
    for told in {label.digest: label for label in ledger.labels.values()}.values():
        try:
            if sha256(store.blobs.get(told.digest)) != told.digest:
                lost.append(f"the image of {told} is another")
        except EvergreenError as error:
            lost.append(f"the image of {told}: {error}")
    images = Counter(row.image for row in stored.values())
    doubled += [f"image {image} is {n} examples" for image, n in images.items() if n > 1]
    return Verdict(lost, doubled, len(ledger.predictions) - sum(kept))
