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


def cut(excerpt: str | None) -> str:
    """As it stands in a column."""
    text = excerpt or ""
    return text if len(text) <= _COLUMN_CHARACTERS else f"{text[: _COLUMN_CHARACTERS - 1]}…"
