"""The drain: a thread that stores what the spool holds, oldest first, when the store is well."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from core import erased, predictions
from core.errors import StoreError
from core.predictions import Prediction
from core.store.store import Store
from core.system.priority import yield_to_others
from service.inference.recorder import Recorder
from service.inference.spool import Damaged, Spool

_GROUP = 64

log = logging.getLogger(__name__)


class SpoolDrain:
    def __init__(
        self, store: Store, spool: Spool, recorder: Recorder, every_s: float = 1.0
    ) -> None:
        self._store = store
        self._spool = spool
        self._recorder = recorder
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def drain(self) -> bool:
        """Store all that is spooled. Returns whether the store took it, or there is nothing.

        What other threads spool meanwhile is for the next time: under load there is always some.
        Raises StoreError, or what else the store raises. Then the rest stays.
        """
        with self._spool.only_drainer() as is_only:
            paths = self._spool.oldest_first() if is_only else []
            for start in range(0, len(paths), _GROUP):
                if not self._stop.is_set():
                    self._drain_group(paths[start : start + _GROUP])
        depth = self._spool.depth()  # always: `put` counts from this look
        return is_only or depth.num_predictions == 0

    def _run(self) -> None:
        yield_to_others()
        while not self._stop.wait(self._every_s):
            try:
                if self.drain():
                    self._recorder.note_well()
            except Exception as error:  # whatever a driver raises, the rest is drained later
                self._recorder.note_unwell(error)

    def _drain_group(self, paths: list[Path]) -> None:
        read, rows, done = [], [], []
        for path in paths:
            try:
                row = self._read(path)
            except OSError as error:  # such as too many open files: tried again at the next drain
                log.warning("spool.unreadable", extra={"reason": str(error)})
                continue
            done.append(path)
            if row is not None:
                read.append(row)
        with self._store.db.read() as conn:
            made = [(prediction.image, prediction.created_at) for prediction, _ in read]
            gone = erased.from_before(conn, made)
        for prediction, image in read:
            if (prediction.image, prediction.created_at) in gone:
                continue
            if image:
                self._store.blobs.put(image, durable=False)
            rows.append(prediction)
        self._add(rows)
        for path in done:
            self._spool.remove(path)

    def _add(self, rows: list[Prediction]) -> None:
        """A row that the database refuses, whatever comes, is dropped: the others must not wait for
        it. Raises StoreError."""
        try:
            predictions.add_missing(self._store.db, rows)
        except StoreError:
            raise
        except Exception as error:
            if len(rows) == 1:
                fields = {"reason": repr(error), "prediction": rows[0].id}
                log.error("spool.dropped", extra=fields)
                return
            for row in rows:
                self._add([row])

    def _read(self, path: Path) -> tuple[Prediction, bytes] | None:
        """None if it is to be dropped. Raises OSError."""
        if self._spool.is_too_old(path):
            log.warning("spool.dropped", extra={"reason": "too old", "prediction": path.name})
            return None
        try:
            return self._spool.read(path)
        except Damaged as error:
            log.warning("spool.dropped", extra={"reason": str(error), "prediction": path.name})
            return None
