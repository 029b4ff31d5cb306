"""A sweep: whatever the recipe lets go, a little at a time.

Each piece is a short transaction, so a sweep can end after any of them, and another begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from core import runs
from core.audit import TRAINER, Actor
from core.registry import versions as registry
from core.retention import analyses, caches, doomed, images, rows, stragglers, versions
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.retention.rows import Place
from core.review import thumbnails
from core.review.thumbnails import ThumbnailCache
from core.store.store import Store


class Swept(NamedTuple):
    """What a piece has deleted, or would. Rows and keys have no bytes of their own."""

    kind: str
    num_items: int
    num_bytes: int = 0
    why: str = ""


@dataclass(slots=True)
class Sweeper:
    store: Store
    capture: CapturePolicy
    retention: RetentionPolicy
    # Of this machine; None: it has none.
    cache: Path | None = None
    # Versions that a setting names, so they are kept.
    named: Collection[int] = ()
    by: Actor = TRAINER
    files: versions.Files = field(init=False)
    # The backbones in use when the embeddings were last swept.
    _swept_backbones: set[str] = field(default_factory=set)
    _has_sizes: bool = False

    def __post_init__(self) -> None:
        self.files = versions.Files(self.store)

    def sweep(self, now: float) -> Iterator[Swept]:
        """Yields after each piece. Raises StoreError, or what else the store raises."""
        yield from self._erased(now)
        yield from self._measure_images()
        yield from self._images(now)
        yield from self._predictions(now)
        yield from self._delete_images(now)
        yield from self._versions(now)
        yield from self._delete_files(now)
        yield from self._analyses(now)
        yield from self._embeddings()
        yield from self._runs(now)
        yield from self._imports(now)
        yield from self._keys(now)
        yield from self._caches()
        doomed.forget(self.store, now)

    def plan(self, now: float) -> list[Swept]:
        """What a sweep would delete, and why. Reads many rows."""
        capture, retention = self.capture, self.retention
        with self.store.db.read() as conn:
            cutoff = images.cutoff(conn, capture, now)
            old = images.total_before(conn, cutoff.by_age)
            over = images.total_before(conn, cutoff.moment)
            predictions = rows.count_predictions(conn, rows.prediction_cutoff(conn, retention, now))
            retired = versions.to_retire(conn, retention, self.named, now)
            embeddings = versions.count_embeddings(conn)
            analysed = analyses.count_old(conn)
            num_runs = rows.count_runs(conn, rows.run_cutoff(conn, retention, now))
            num_imports = rows.count_imports(conn, rows.import_cutoff(conn, retention, now))
            num_keys = rows.count_keys(conn, self._keys_before(now))
        cached = self._unused_cache()
        every = [
            Swept("images", *old, f"max_days = {capture.max_days:g}"),
            Swept("images", over[0] - old[0], over[1] - old[1], f"max_gb = {capture.max_gb:g}"),
            Swept("predictions", predictions, 0, "prediction_days, max_predictions"),
            Swept("versions", len(retired), 0, "version_days, max_versions, erased_versions"),
            Swept("embeddings", *embeddings, "no kept version has their backbone"),
            Swept("analyses", *analysed, f"the newest {analyses.KEPT} are kept"),
            Swept("runs", num_runs, 0, "run_days, max_runs"),
            Swept("imports", num_imports, 0, f"run_days = {retention.run_days:g}"),
            Swept(
                "keys", num_keys, 0, f"idempotency_key_days = {retention.idempotency_key_days:g}"
            ),
            Swept("cache", len(cached), sum(file.num_bytes for file in cached), "not in use"),
        ]
        return [swept for swept in every if swept.num_items]

    def _erased(self, now: float) -> Iterator[Swept]:
        yield Swept("predictions", stragglers.delete_late(self.store, now))

    def _measure_images(self) -> Iterator[Swept]:
        """Once in a process: only older releases store no sizes."""
        place: float | None = None if self._has_sizes else 0.0
        while place is not None:
            place = images.measure_unknown(self.store, place)
            yield Swept("images", 0)
        self._has_sizes = True

    def _images(self, now: float) -> Iterator[Swept]:
        with self.store.db.read() as conn:
            moment = images.cutoff(conn, self.capture, now).moment
        while images.release(self.store, moment):
            yield Swept("images", 0)
            yield from self._delete_images(now)

    def _predictions(self, now: float) -> Iterator[Swept]:
        with self.store.db.read() as conn:
            moment = rows.prediction_cutoff(conn, self.retention, now)
        place: Place | None = Place()
        while place is not None:
            number, place = rows.delete_predictions(self.store, moment, place)
            yield Swept("predictions", number)

    def _delete_images(self, now: float) -> Iterator[Swept]:
        yield from _all("images", lambda: doomed.delete_images(self.store, now))

    def _versions(self, now: float) -> Iterator[Swept]:
        retention, named = self.retention, self.named
        while number := versions.retire(self.store, self.files, retention, named, now, self.by):
            yield Swept("versions", number)

    def _delete_files(self, now: float) -> Iterator[Swept]:
        with self.store.db.read() as conn:
            if not doomed.has_files(conn):
                return
        self.files.load()
        yield from _all("files", lambda: doomed.delete_files(self.store, self.files.needed, now))

    def _analyses(self, now: float) -> Iterator[Swept]:
        yield Swept("analyses", analyses.delete_old(self.store))
        yield from _all("analyses", lambda: doomed.delete_analyses(self.store, now))

    def _embeddings(self) -> Iterator[Swept]:
        with self.store.db.read() as conn:
            used = versions.backbones(conn)
        if used == self._swept_backbones:
            return
        after: int | None = 0
        while after is not None:
            number, after = versions.delete_embeddings(self.store, after)
            yield Swept("embeddings", number)
        self._swept_backbones = used

    def _runs(self, now: float) -> Iterator[Swept]:
        with self.store.db.read() as conn:
            moment = rows.run_cutoff(conn, self.retention, now)
        while number := rows.delete_runs(self.store, moment):
            yield Swept("runs", number)

    def _imports(self, now: float) -> Iterator[Swept]:
        with self.store.db.read() as conn:
            moment = rows.import_cutoff(conn, self.retention, now)
        while number := rows.delete_imports(self.store, moment):
            yield Swept("imports", number)

    def _keys(self, now: float) -> Iterator[Swept]:
        while number := rows.forget_keys(self.store, self._keys_before(now)):
            yield Swept("keys", number)

    def _keys_before(self, now: float) -> float:
        days = self.retention.idempotency_key_days
        return now - days * images.DAY_S if days else 0.0

    def _caches(self) -> Iterator[Swept]:
        for file in self._unused_cache():
            caches.remove(file)
            yield Swept("cache", 1, file.num_bytes)

    def _unused_cache(self) -> list[caches.CacheFile]:
        if self.cache is None:
            return []
        with self.store.db.read() as conn:
            kept = registry.kept(conn)
            unfinished = {run.id for run in runs.unfinished(conn)}
        backbones = {version.backbone for version in kept}
        manifests = {version.manifest for version in kept}
        shown = ThumbnailCache(thumbnails.folder_in(self.cache), 0, self.store.kind).unnamed(
            self.store.db
        )
        return [
            *caches.unused(self.cache, backbones, manifests, unfinished),
            *(caches.CacheFile(path, caches.size(path)) for path in shown),
        ]


def _all(kind: str, delete: Callable[[], doomed.Deleted | None]) -> Iterator[Swept]:
    """Delete until nothing is left, or until another time."""
    while deleted := delete():
        if not deleted.num_items:
            return
        yield Swept(kind, *deleted)
