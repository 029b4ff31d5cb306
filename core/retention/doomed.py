"""Doomed blobs: deleted once no row names them any more.

1. One transaction takes the name of a blob out of its row, and adds the blob here. It is fsynced.
2. Another one deletes the blob, unless a row names it.

A crash between the two, or within the second, leaves the blob doomed, and the second step is done
again. It excludes those who add rows. A label of a new image takes the same lock, and if the image
was doomed of late, checks that the blob is still there (`core/labelling/intake.py`). A version is
added by a run, and no file of a version is deleted during one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Executable, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core import runs
from core.labelling import labels
from core.review import analyses
from core.store.blobs import Blobs, LocalBlobs
from core.store.schema import examples, predictions
from core.store.store import Store
from core.store.tables.retention import doomed_blobs

IMAGE = "image"
FILE = "file"
# Unlike the file of a version, it is never stored before a row that is added later: each has a
# digest of its own. So no run delays its end.
ANALYSIS = "analysis"
# Far longer than a label takes from storing its image to its row.
_REMEMBER_S = 3600.0
_PENDING = doomed_blobs.c.deleted_at.is_(None)


class Deleted(NamedTuple):
    num_items: int
    num_bytes: int


def doom(conn: Connection, kind: str, sizes: Mapping[str, int]) -> None:
    """Add blobs, by digest with their size, whose name was taken out of a row."""
    rows = [{"digest": digest, "kind": kind, "num_bytes": size} for digest, size in sizes.items()]
    if rows:
        conn.execute(_again(conn.dialect.name), rows)


def _again(dialect_name: str) -> Executable:
    """Insert the rows. A blob that was doomed and stored again is doomed once more."""
    new = (sqlite if dialect_name == "sqlite" else postgresql).insert(doomed_blobs)
    values = {"kind": new.excluded.kind, "deleted_at": None}
    statement: Executable = new.on_conflict_do_update(index_elements=["digest"], set_=values)
    return statement


def total(conn: Connection) -> tuple[int, int]:
    """How many blobs wait to be deleted, and their bytes."""
    size = func.coalesce(func.sum(doomed_blobs.c.num_bytes), 0)
    row = conn.execute(select(func.count(), size).where(_PENDING)).one()
    return int(row[0]), int(row[1])


def has_files(conn: Connection) -> bool:
    query = select(doomed_blobs.c.digest).where(doomed_blobs.c.kind == FILE, _PENDING)
    return conn.execute(query.limit(1)).first() is not None


def forget(store: Store, now: float) -> None:
    """Forget the blobs that were deleted long ago."""
    is_old = ~doomed_blobs.c.deleted_at.between(now - _REMEMBER_S, now + _REMEMBER_S)
    with store.db.write(durable=False) as conn:
        conn.execute(delete(doomed_blobs).where(is_old))


def delete_images(store: Store, now: float) -> Deleted:
    """Delete some doomed images that neither an example nor a kept prediction names."""
    with store.db.write(durable=False) as conn:
        labels.lock_order(conn)
        sizes = _next(conn, IMAGE, _at_a_time(store.blobs))
        return _delete(conn, store.blobs, sizes, _named(conn, sizes), now)


def delete_image(store: Store, image: str, now: float) -> None:
    """Delete a doomed image, unless an example or a kept prediction names it again."""
    with store.db.write(durable=False) as conn:
        labels.lock_order(conn)
        _delete(conn, store.blobs, {image: 0}, _named(conn, [image]), now)


def _named(conn: Connection, images: Collection[str]) -> set[str]:
    """Those that an example or a kept prediction names."""
    named = set(conn.scalars(select(examples.c.image).where(examples.c.image.in_(images))))
    is_kept = predictions.c.image.in_(images) & predictions.c.kept_bytes.is_not(None)
    return named | set(conn.scalars(select(predictions.c.image).where(is_kept)))


def delete_analyses(store: Store, now: float) -> Deleted:
    """Delete the files of some doomed analyses."""
    with store.db.write(durable=False) as conn:
        sizes = _next(conn, ANALYSIS, _at_a_time(store.blobs))
        named = {row.digest for row in analyses.listing(conn)}
        return _delete(conn, store.blobs, sizes, named, now)


def delete_files(
    store: Store, names_of: Callable[[Connection], Collection[str] | None], now: float
) -> Deleted | None:
    """Delete some doomed files that no kept version needs: `names_of` says which are needed.

    Returns None, and does nothing, if that says None or while a run is under way, which stores the
    files of its version before the row.
    """
    with store.db.write(durable=False) as conn:
        runs.lock(conn)
        unfinished = runs.unfinished(conn)
        named = names_of(conn)
        if named is None or any(run.state == "running" for run in unfinished):
            return None
        sizes = _next(conn, FILE, _at_a_time(store.blobs))
        wanted = json.dumps([run.parameters for run in unfinished])
        named = {*named, *(digest for digest in sizes if digest in wanted)}
        return _delete(conn, store.blobs, sizes, named, now)


def _at_a_time(blobs: Blobs) -> int:
    # The lock is held meanwhile: some microseconds a file, or as long as a request takes.
    return 32 if isinstance(blobs, LocalBlobs) else 1


def _next(conn: Connection, kind: str, limit: int) -> dict[str, int]:
    query = select(doomed_blobs.c.digest, doomed_blobs.c.num_bytes)
    rows = conn.execute(query.where(doomed_blobs.c.kind == kind, _PENDING).limit(limit))
    return {row.digest: row.num_bytes for row in rows}


def _delete(
    conn: Connection, blobs: Blobs, sizes: Mapping[str, int], named: Collection[str], now: float
) -> Deleted:
    unnamed = [digest for digest in sizes if digest not in named]
    for digest in unnamed:
        blobs.delete(digest)
    kept = doomed_blobs.c.digest.in_([digest for digest in sizes if digest in named])
    conn.execute(delete(doomed_blobs).where(kept))
    gone = doomed_blobs.c.digest.in_(unnamed)
    conn.execute(update(doomed_blobs).where(gone).values(deleted_at=now))
    return Deleted(len(sizes), sum(sizes[digest] for digest in unnamed))
