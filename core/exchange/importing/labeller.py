"""Labelling: loaded files become label events, a transaction at a time, and the report counts them.

The events of an import are one batch, which can be undone as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from core.audit import Actor
from core.class_names import is_same
from core.exchange.importing.known import Known, decide, known_labels
from core.exchange.importing.loading import Loaded
from core.exchange.importing.report import Report
from core.exchange.reading.items import Item, Kind
from core.exchange.reading.source_file import shown
from core.labelling import batches, classes, examples, label_audit, labels
from core.labelling.examples import Example
from core.labelling.labels import LabelEvent
from core.labelling.swept_images import check_not_swept, swept_is_store_error
from core.store import lost_blobs
from core.store.blobs import Blobs

_SIDES = {True: "held out", False: "trained on"}


@dataclass(slots=True)
class Labeller:
    who: str
    by: Actor
    report: Report
    # Of its batch.
    detail: Mapping[str, Any]
    # The word for an input.
    noun: str = "image"
    # The batch of its label events; None: it has none yet.
    batch_id: int | None = None
    # By image of this import: the first file of it.
    seen: dict[str, Item] = field(default_factory=dict)

    def see(self, item: Item, image: str) -> tuple[Kind, str] | None:
        """Note an image. If the import had it before, return what this file is therefore."""
        first = self.seen.setdefault(image, item) if image else item
        if first is item:
            return None
        if is_same(first.label, item.label):
            return "duplicates", f"the same {self.noun} as {shown(first.file.path, 80)}"
        return "conflicts", f"also in another class: {shown(first.file.path, 80)}"

    def settle(self, loaded: Sequence[Loaded]) -> list[Loaded]:
        """Count those that need no label. Returns the others."""
        to_label = []
        for each in loaded:
            again = self.see(each.item, each.image)
            if again is not None:
                self.count(each.item, *again)
            elif each.new is None:
                self.count(each.item, each.kind, each.why)
            else:
                to_label.append(each)
        return to_label

    def label(self, conn: Connection, blobs: Blobs, to_label: Sequence[Loaded], now: float) -> None:
        """Label what `settle` returned, whose blobs are stored. Few, as a lock is held meanwhile.

        Raises StoreError.
        """
        if not to_label:
            return
        labels.lock_order(conn)
        if self.batch_id is None:
            self.batch_id = batches.add(conn, "import", self.who, self.detail, now)
        known = known_labels(conn, [each.image for each in to_label])
        images = [each.image for each in to_label]
        lost_blobs.clear(conn, images)
        events = []
        names = {name: classes.join(conn, name) for name in _names(to_label)}
        with swept_is_store_error():
            check_not_swept(conn, blobs, *(image for image in images if image not in known))
            for each in to_label:
                # A person may have labelled it since it was loaded.
                kind = decide(each.item.label, known.get(each.image, Known()))
                why = ""
                if kind in ("added", "relabelled"):
                    example = examples.find(conn, each.image) if each.image in known else None
                    name = names[each.item.label]
                    event, why = self._append(conn, each, example, name, now)
                    events.append(event)
                self.count(each.item, "conflicts" if why else kind, why)
        label_audit.record_imported(conn, self.by, events, now)

    def count(self, item: Item, kind: Kind, why: str = "") -> None:
        self.report.count(kind, item.file.path, why)

    def _append(
        self, conn: Connection, each: Loaded, example: Example | None, label: str, now: float
    ) -> tuple[LabelEvent, str]:
        """Returns the event, and why the example is not on the side that it should be on."""
        assert each.new is not None
        wished = each.item.is_held_out
        why = ""
        if example is None:
            example = examples.add(conn, each.new, label, now, wished)
            if wished is not None and wished != example.is_held_out:
                why = (
                    f"labelled, and {_SIDES[example.is_held_out]}: it is almost the same "
                    f"{self.noun} as an example of that side"
                )
        event = labels.append(
            conn,
            example_id=example.id,
            label=label,
            who=self.who,
            batch_id=self.batch_id,
            now=now,
        )
        return event, why


def _names(to_label: Sequence[Loaded]) -> dict[str, None]:
    return dict.fromkeys(each.item.label for each in to_label)
