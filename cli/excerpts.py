"""The beginnings of inputs, for lists on a terminal."""

from __future__ import annotations

from core.errors import ArtifactError, StoreError
from core.store.store import Store

_COLUMN_CHARACTERS = 60


def excerpt_of(store: Store, digest: str) -> str | None:
    """None where lists show no text of this kind, or where it is lost."""
    if not store.kind.has_excerpts:
        return None
    try:
        return store.kind.excerpt(store.blobs.get(digest))
    except (ArtifactError, StoreError):
        return None


def under(excerpt: str | None, item_id: str) -> str:
    """A cell: the excerpt, and what it is called by below it, which leaves it more room than
    beside it."""
    text = excerpt or ""
    if len(text) > _COLUMN_CHARACTERS:
        text = f"{text[: _COLUMN_CHARACTERS - 1]}…"
    return f"{text}\n{item_id}"
