"""An image that is labelled while it is swept: its blob may be deleted between the two steps of a
label, which stores the blob first and then the row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, select, update

from core.errors import StoreError
from core.store.blobs import Blobs
from core.store.tables.retention import doomed_blobs


class ImageSwept(Exception):
    """The blob is gone: store it again, and then the row."""


@contextlib.contextmanager
def swept_is_store_error() -> Iterator[None]:
    """Where the blob is not stored again: the client has to send it once more."""
    try:
        yield
    except ImageSwept as error:
        raise StoreError(str(error)) from error


def doom_again(conn: Connection, image: str) -> None:
    """Let the sweeper delete the blob of an erased image, which was stored again meanwhile."""
    is_doomed = doomed_blobs.c.digest == image
    conn.execute(update(doomed_blobs).where(is_doomed).values(deleted_at=None))


def check_not_swept(conn: Connection, blobs: Blobs, *images: str) -> None:
    """Raises ImageSwept. The sweeper takes the lock that the caller holds, so from now on the blobs
    stay (`core/retention/doomed.py`)."""
    doomed = select(doomed_blobs.c.digest).where(doomed_blobs.c.digest.in_(images))
    for image in conn.scalars(doomed).all():
        if not blobs.has(image):
            raise ImageSwept(f"input {image} was swept while it was labelled; send it again")
