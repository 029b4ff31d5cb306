"""What an erasure cannot delete, or does not yet, and until when it is there: in words."""

from __future__ import annotations

import datetime
from typing import Any

from core.store.blobs import LocalBlobs
from core.store.store import Store

_TABLES = "examples, labels, embeddings, predictions, shadow_answers"


def describe(store: Store, moment: float, receipt: dict[str, Any], is_emptied: bool) -> list[str]:
    at = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds")
    texts = [
        f"backups from before {at}, until `evergreen backup --keep` deletes them: after one of "
        "them is restored, erase again",
        "spools of other machines: what they hold of the input is dropped, not stored",
        "thumbnails on other machines and excerpts in the memory of other workers, which are no "
        "longer shown, and are deleted within minutes",
        "browsers that have shown the input, in their caches",
        "the audit: who labelled it and who read it, without the label",
    ]
    if store.db.is_sqlite:
        texts.append(
            "the copy beside the database, if a migration made one (*.db.schema-*), until the next "
            "migration or until you delete it"
        )
    else:
        texts.append(
            f"dead rows of PostgreSQL until it vacuums (VACUUM {_TABLES}), and its log and replicas"
        )
    if not is_emptied:
        texts.append(
            "SQLite's log: a long read, such as a backup, needs it; erase again when that has ended"
        )
    if not isinstance(store.blobs, LocalBlobs):
        texts.append("old objects, if the object store keeps versions of them")
    later = [
        str(each["version"]) for each in receipt["versions"] if each["fate"].startswith("retired-a")
    ]
    kept = [str(each["version"]) for each in receipt["versions"] if each["fate"] == "kept"]
    if later:
        texts.append(
            f"heads and reference vectors of version {', '.join(later)}, until a version that did "
            "not see the input is promoted"
        )
    if kept:
        texts.append(
            f"weights of version {', '.join(kept)}: the recipe keeps them, or their backbone was "
            "tuned with the input; `evergreen retrain --blocks` tunes one without it"
        )
    if receipt["near_duplicates"]:
        texts.append("its near-duplicates, which are other examples: erase each of them")
    return texts
