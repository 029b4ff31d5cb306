"""Examples: each image that was ever labelled, and whether it is held out, which never changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, select, union

from core import erased
from core.errors import UnknownExample
from core.inputs.kind import Fingerprint
from core.store.schema import examples, predictions
from core.store.tables.tallies import class_sizes

HOLD_OUT_SHARE = 0.2
# The first few examples of a class always train: a class of three photos can spare none.
NUM_ALWAYS_TRAINED = 4
# All flat images share a band. The limit keeps the cost of adding one of them constant.
_MAX_CANDIDATES = 500
# Built once: building a statement takes longer than running it.
_INSERT = insert(examples)
_NUM_OF_CLASS = select(func.coalesce(func.sum(class_sizes.c.examples), 0)).where(
    class_sizes.c.label == bindparam("label")
)
_SIDE_OF_GROUP = (
    select(examples.c.is_held_out).where(examples.c.group_id == bindparam("group_id")).limit(1)
)


def _select_candidates() -> Select[Any]:
    # Each band by its own index: with OR, all that share one would be read and sorted.
    of_bands = [
        select(examples.c.id)
        .where(examples.c[f"band_{i}"] == bindparam(f"wanted_{i}"))
        .order_by(examples.c.id)
        .limit(_MAX_CANDIDATES)
        for i in range(4)
    ]
    found = union(*(select(each.subquery()) for each in of_bands)).subquery()
    return (
        select(examples.c.thumb, examples.c.group_id)
        .join(found, found.c.id == examples.c.id)
        .order_by(examples.c.id)
        .limit(_MAX_CANDIDATES)
    )


_CANDIDATES = _select_candidates()


@dataclass(frozen=True, slots=True)
class Example:
    id: int
    image: str
    is_held_out: bool
    group_id: str


@dataclass(frozen=True, slots=True)
class NewExample:
    """An input that is not an example yet: its row, without label and hold-out."""

    # The SHA-256 of its bytes.
    image: str
    num_bytes: int
    # Pixels of an image; characters and lines of a text.
    width: int
    height: int
    source: str
    fingerprint: Fingerprint


def split(group_id: str, num_of_class: int) -> bool:
    """Return whether a new group is held out.

    A hash of `group_id` decides, so the time and the order of labels do not matter.
    `num_of_class` is the number of examples that the label's class already has.
    """
    if num_of_class < NUM_ALWAYS_TRAINED:
        return False
    digest = hashlib.sha256(f"hold-out:{group_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < HOLD_OUT_SHARE * 2**64


def find(conn: Connection, image: str) -> Example | None:
    row = conn.execute(
        select(examples.c.id, examples.c.image, examples.c.is_held_out, examples.c.group_id).where(
            examples.c.image == image
        )
    ).one_or_none()
    return None if row is None else Example(*row)


def image_of(conn: Connection, example_id: int) -> str:
    """The digest of its image. Raises UnknownExample, also if it was erased."""
    image: str | None = None
    if 0 < example_id < 2**63:
        query = select(examples.c.image).where(examples.c.id == example_id)
        image = conn.execute(query).scalar()
    if image is None:
        raise UnknownExample(f"example {example_id} does not exist; GET /v1/examples lists them")
    if erased.is_erased(image):
        raise UnknownExample(f"example {example_id} was erased; nothing of it is left")
    return image


def captured_digests(conn: Connection) -> list[str]:
    """Return the digests of all kept images that clients sent, labelled or not, sorted."""
    kept = select(predictions.c.image).where(predictions.c.kept_bytes.is_not(None))
    labelled = select(examples.c.image).where(erased.has_image())
    return sorted(conn.execute(union(labelled, kept)).scalars())


def add(
    conn: Connection, new: NewExample, label: str, now: float, wished: bool | None = None
) -> Example:
    """Add a new example. A near-duplicate joins the group and the side of the earlier one.

    `wished`: whether to hold it out, where no earlier one decides.
    """
    group_id = _near_duplicate_group(conn, new.fingerprint)
    if group_id is None:
        group_id = new.image
        is_held_out = split(group_id, _num_of_class(conn, label)) if wished is None else wished
    else:
        is_held_out = bool(conn.execute(_SIDE_OF_GROUP, {"group_id": group_id}).scalar_one())
    bands = new.fingerprint.bands
    values = {
        "image": new.image,
        "num_bytes": new.num_bytes,
        "width": new.width,
        "height": new.height,
        "source": new.source,
        "is_held_out": is_held_out,
        "group_id": group_id,
        "thumb": new.fingerprint.thumb,
        **{f"band_{i}": band for i, band in enumerate(bands)},
        "created_at": now,
    }
    result = conn.execute(_INSERT, values)
    key = result.inserted_primary_key
    assert key is not None
    return Example(key[0], new.image, is_held_out, group_id)


def _near_duplicate_group(conn: Connection, fingerprint: Fingerprint) -> str | None:
    wanted = {f"wanted_{i}": band for i, band in enumerate(fingerprint.bands)}
    for thumb, group_id in conn.execute(_CANDIDATES, wanted):
        if fingerprint.is_near(thumb):
            return str(group_id)
    return None


def _num_of_class(conn: Connection, label: str) -> int:
    return int(conn.execute(_NUM_OF_CLASS, {"label": label}).scalar_one())
