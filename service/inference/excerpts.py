"""Excerpts for lists: the beginnings of inputs whose kind has such.

A list must not wait for a slow blob store, so each read has a limit of time: what has not come by
then has no excerpt. What was read is kept in memory for some minutes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

from core.errors import ArtifactError, StoreError
from core.store.store import Store

_NUM_THREADS = 8
WITHIN_S = 1.0
# At most 300 characters each: a megabyte or two.
_MOST_KEPT = 4_000
# An erased text leaves the memory too.
_KEPT_S = 300.0


class Excerpts:
    """For many threads."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        kept_s: float = _KEPT_S,
    ) -> None:
        self._blobs = store.blobs
        self._kind = store.kind
        self._clock = clock
        self._kept_s = kept_s
        self._lock = threading.Lock()
        # By digest, oldest first, with the time when it was read.
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()
        # Forgets what is old even if nobody reads a list again. None: nothing is kept.
        self._timer: threading.Timer | None = None
        # It starts a thread when there is work.
        self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="excerpts")

    def read(self, images: Iterable[str]) -> dict[str, str]:
        """The excerpts by digest. One that is lost, or does not come in time, is left out.

        A caller has read the rows that name the inputs, so none of an erased input is shown. It
        takes WITHIN_S at most: call it in a thread.
        """
        if not self._kind.has_excerpts:
            return {}
        wanted = dict.fromkeys(images)
        with self._lock:
            self._forget_old()
            found = {image: self._kept[image][0] for image in wanted if image in self._kept}
        futures = {
            image: self._pool.submit(self._read_one, image)
            for image in wanted
            if image not in found
        }
        wait(futures.values(), timeout=WITHIN_S)
        new = {}
        for image, future in futures.items():
            if future.done() and (excerpt := future.result()) is not None:
                new[image] = excerpt
            else:
                future.cancel()
        with self._lock:
            now = self._clock()
            self._kept |= {image: (excerpt, now) for image, excerpt in new.items()}
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            self._forget_later()
        return found | new

    def forget(self, image: str) -> None:
        with self._lock:
            self._kept.pop(image, None)

    def stop(self) -> None:
        with self._lock:
            self._kept.clear()
            if self._timer is not None:
                self._timer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read_one(self, image: str) -> str | None:
        try:
            return self._kind.excerpt(self._blobs.get(image))
        except (ArtifactError, StoreError):
            return None

    def _forget_old(self) -> None:
        oldest = self._clock() - self._kept_s
        while self._kept and next(iter(self._kept.values()))[1] < oldest:
            self._kept.popitem(last=False)

    def _forget_later(self) -> None:
        if self._kept and self._timer is None:
            self._timer = threading.Timer(self._kept_s, self._on_time)
            self._timer.daemon = True
            self._timer.start()

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            self._forget_old()
            self._forget_later()
