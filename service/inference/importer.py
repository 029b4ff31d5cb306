"""The importer: a thread that works on uploaded archives, one after the other on each machine.

It reads and decodes in another thread, of low priority, so predictions come first. It labels at
normal priority, because predictions wait for the lock of the database meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from core.errors import StoreError
from core.exchange.importing import jobs
from core.exchange.importing.claims import Claims
from core.exchange.importing.job_run import JobRun
from core.exchange.importing.upload_files import UploadFiles
from core.ids import new_id
from core.settings import Settings
from core.store.store import Store
from core.system.host import this_host
from core.system.priority import yield_to_others

# An upload wakes the process that took it. Others look whether it was killed.
_POLL_EVERY_S = 5.0
# Without an archive on this machine, whether another machine is gone that has one.
_ASK_EVERY_S = 60.0
_SWEEP_EVERY_S = 3600.0

log = logging.getLogger(__name__)


class Importer:
    def __init__(self, store: Store, settings: Settings) -> None:
        self.files = UploadFiles(settings)
        self._store = store
        self._settings = settings
        self._claims = Claims(store.db, new_id(), this_host(), self.files.has)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._swept_at = float("-inf")
        self._asked_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="imports", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Hand back what it works on: another process goes on with it."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Look for imports now."""
        self._wake.set()

    def tick(self) -> bool:
        """Work on an import, if there is one. Returns whether there was. Raises StoreError."""
        job = self._claims.next(self._store.db.clock())
        if job is None:
            return False
        with ThreadPoolExecutor(1, "import", initializer=yield_to_others) as pool:
            JobRun(self._store, self._settings, self.files, job, pool, self._stop.is_set).run()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._sweep_files()
                if self._is_time_to_ask() and self.tick():
                    continue
            except StoreError as error:
                log.warning("import.store_unavailable", extra={"error": str(error)})
            except Exception:
                log.exception("import.failed")
            self._wake.wait(_POLL_EVERY_S)
            self._wake.clear()

    def _is_time_to_ask(self) -> bool:
        """An idle process asks the database next to nothing."""
        now = time.monotonic()
        if not self.files.has_any() and now - self._asked_at < _ASK_EVERY_S:
            return False
        self._asked_at = now
        return jobs.is_any_unfinished(self._store.db)

    def _sweep_files(self) -> None:
        if time.monotonic() - self._swept_at < _SWEEP_EVERY_S or not self.files.folder.is_dir():
            return
        self._swept_at = time.monotonic()
        with self._store.db.read() as conn:
            kept = {each.id for each in jobs.unfinished(conn)}
        num_deleted = self.files.sweep(kept)
        if num_deleted:
            log.info("imports.deleted", extra={"count": num_deleted})
