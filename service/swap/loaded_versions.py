"""The versions that this process has loaded: verified, warmed up, ready to answer."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Collection

from core.errors import EvergreenError, SpecMismatch, StoreError, VersionNotLoaded
from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.registry import version_files, versions
from core.registry.versions import Version
from core.store import lost_blobs
from core.store.store import Store
from core.system.background import trim_memory

log = logging.getLogger(__name__)


class LoadedVersions:
    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._by_number: dict[int, Servable] = {}
        self._locks: dict[int, threading.Lock] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    @property
    def numbers(self) -> tuple[int, ...]:
        # Copied first, as another thread may add one.
        return tuple(sorted(tuple(self._by_number)))

    def get(self, number: int) -> Servable | None:
        return self._by_number.get(number)

    def get_pinned(self, number: int) -> Servable:
        """The version that a request asks for by number. Raises VersionNotLoaded."""
        servable = self._by_number.get(number)
        if servable is None:
            loaded = ", ".join(map(str, self.numbers)) or "none yet"
            raise VersionNotLoaded(
                f"version {number} is not loaded; loaded: {loaded}. Promote it, or name it in "
                "EVERGREEN_SHADOW_VERSIONS to keep it loaded beside the champion"
            )
        return servable

    def load(self, number: int) -> Servable:
        """Load a version and keep it. Raises UnknownVersion, ArtifactError, StoreError.

        If another thread is loading it, wait for that.
        """
        with self._lock_of(number):
            return self._by_number.get(number) or self._load(number)

    def _lock_of(self, number: int) -> threading.Lock:
        # There are few versions, so no lock is ever forgotten. `setdefault` is atomic.
        return self._locks.setdefault(number, threading.Lock())

    def _load(self, number: int) -> Servable:
        with self._store.db.read() as conn:
            version = versions.get(conn, number)
            was_lost = version_files.recorded_lost(conn, [version])
        started = time.perf_counter()
        try:
            servable = self._open(version)
        except lost_blobs.LOST:
            self._note_files(version)
            raise
        if was_lost:
            self._note_files(version)
        self._by_number[number] = servable
        duration_ms = round((time.perf_counter() - started) * 1000, 1)
        log.info("version.loaded", extra={"version": number, "duration_ms": duration_ms})
        return servable

    def _open(self, version: Version) -> Servable:
        """Load in the background, unless nothing serves yet or only the head is new, which takes a
        millisecond."""
        blobs = self._store.blobs
        try:
            manifest = versions.read_manifest(version, self._store)
            if not self._by_number or self._runtime.has_backbone(manifest.backbone):
                return load(manifest, blobs, self._runtime)
            return self._runtime.run_in_background(lambda: load(manifest, blobs, self._runtime))
        except EvergreenError:
            raise
        except Exception as error:  # a damaged bundle can raise anything
            log.exception("version.unreadable", extra={"version": version.number})
            raise SpecMismatch(f"version {version.number} cannot be loaded: {error!r}") from error

    def _note_files(self, version: Version) -> None:
        """Record which files are lost, or that they are back."""
        with contextlib.suppress(StoreError):
            version_files.note(self._store, version, thorough=True)

    def retain(self, wanted: Collection[int | None]) -> None:
        """Unload the others. Requests that have started keep their version until they end."""
        before = self._backbones()
        unloaded = [self._by_number.pop(number) for number in self._by_number.keys() - wanted]
        if before - self._backbones():
            self._runtime.run_in_background(unloaded.clear)
            # At normal priority: trimming holds locks that every allocation needs.
            trim_memory()

    def _backbones(self) -> set[str]:
        return {servable.backbone.digest for servable in tuple(self._by_number.values())}
