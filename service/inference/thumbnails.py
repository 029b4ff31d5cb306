"""Thumbnails of a serving process: made in compute threads, and kept on local disk.

Predictions come first: few thumbnails are made at a time, and the others wait outside of admission.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from core.errors import Overloaded, StoreError
from core.review import images, thumbnails
from core.review.thumbnails import ThumbnailCache
from core.settings import Settings
from core.store.store import Store
from core.system.priority import yield_to_others
from service.inference.predictor import Predictor
from service.traffic.admission import Admission, Deadline

# A grid asks for some hundred at a time.
_MOST_WAITING = 500
_FIRST_SWEEP_S = 60.0
_SWEEP_EVERY_S = 600.0

log = logging.getLogger(__name__)


class Thumbnails:
    def __init__(
        self, settings: Settings, store: Store, predictor: Predictor, admission: Admission
    ) -> None:
        folder = thumbnails.folder_in(settings.home / "cache")
        self.cache = ThumbnailCache(folder, settings.thumbnail_cache_bytes, store.kind)
        self._store = store
        self._predictor = predictor
        self._admission = admission
        self._limits = settings.limits
        # The other compute threads are for predictions.
        self._turns = asyncio.Semaphore(max(1, predictor.max_parallel // 2))
        self._num_waiting = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="thumbnails", daemon=True)

    def start(self) -> None:
        """Delete thumbnails of images that are gone, now and then."""
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    async def make(
        self, image: str, read: Callable[[], bytes], deadline: Deadline | None = None
    ) -> bytes:
        """Make the thumbnail of an image that `read` returns.

        Raises Overloaded, DeadlineExceeded, what `read` raises, and UndecodableImage, ImageTooLarge
        and ImageTooCostly, if the image was stored with other limits or readers.
        """
        if self._num_waiting >= _MOST_WAITING:
            raise Overloaded(
                f"{self._num_waiting:,} thumbnails are to be made here, which is the limit; try "
                "again in a second"
            )
        self._num_waiting += 1
        try:
            async with self._turns:
                with self._admission.reserve(deadline.remaining_s if deadline else None):
                    content = await run_in_threadpool(read)
                    made = await self._predictor.compute(
                        self._store.kind.preview, content, self._limits, deadline=deadline
                    )
            await run_in_threadpool(self._keep, image, made)
            return made
        finally:
            self._num_waiting -= 1

    def sweep(self) -> int:
        """Delete thumbnails whose images were erased or swept. Returns how many. Raises
        StoreError."""
        num_deleted = 0
        for path in self.cache.unnamed(self._store.db):
            with contextlib.suppress(OSError):
                path.unlink()
                num_deleted += 1
        return num_deleted

    def _keep(self, image: str, made: bytes) -> None:
        self.cache.add(image, made)
        with self._store.db.read() as conn:
            is_named = image in images.named(conn, [image])
        if not is_named:  # it was erased meanwhile, by another process or here
            self.cache.remove(image)

    def _run(self) -> None:
        yield_to_others()
        pause_s = _FIRST_SWEEP_S
        while not self._stop.wait(pause_s):
            pause_s = _SWEEP_EVERY_S
            try:
                num_deleted = self.sweep()
            except StoreError as error:
                log.warning("thumbnails.not_swept", extra={"error": str(error)})
                continue
            if num_deleted:
                log.info("thumbnails.swept", extra={"count": num_deleted})
