"""Working on an import: one thread reads and decodes it, and another labels, until it ends.

How far it came is stored in the transaction of the labels, so a process that is killed loses
nothing and does nothing twice: another goes on from there.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass, field
from typing import TypeVar

from core.audit import Actor
from core.errors import DiskFull, InputError, StoreError
from core.exchange.importing import jobs
from core.exchange.importing.jobs import Import
from core.exchange.importing.labeller import Labeller
from core.exchange.importing.loading import Interrupted, Loaded, Loader
from core.exchange.importing.report import Report
from core.exchange.importing.upload_files import UploadFiles
from core.exchange.reading.archive import Archive
from core.exchange.reading.items import Item
from core.exchange.reading.plan import Plan, make_plan
from core.exchange.reading.source import Source
from core.exchange.sources import Options, open_file
from core.exchange.tables.table import Table
from core.labelling import classes
from core.settings import Settings
from core.store.store import Store

# Labels of a transaction: predictions wait for its lock while they are written.
CHUNK = 32
_WRITERS = 4
# Chunks that are read while one is labelled.
_AHEAD = 2
_RENEW_EVERY_S = 2.0

_Result = TypeVar("_Result")
log = logging.getLogger(__name__)


class _Stopped(Exception):
    """It was cancelled, another process has taken it, or this process is to end."""


@dataclass(slots=True)
class JobRun:
    store: Store
    settings: Settings
    files: UploadFiles
    # Claimed by this process.
    job: Import
    # Where it is read and decoded. One thread of it is used.
    pool: Executor
    should_stop: Callable[[], bool]
    _renewed_at: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Work until it ends, or until this process should stop. Raises StoreError: then it can be
        claimed and run again."""
        try:
            self._import()
        except (_Stopped, Interrupted):
            self._leave()
        except StoreError as error:
            if not isinstance(error, DiskFull):
                raise
            self._end("failed", f"{error}; what came before is imported")
        except (InputError, OSError) as error:
            self._end("failed", str(error))
        except Exception:
            log.exception("import.failed", extra={"import": self.job.id})
            self._end("failed", "an error of the service itself, which its log describes")
        else:
            self._end("finished")

    def _import(self) -> None:
        opening = self.pool.submit(self._open)
        try:
            source = self._await(opening)
        except _Stopped:
            opening.add_done_callback(_close)
            raise
        with source, ThreadPoolExecutor(_WRITERS, "import-store") as writers:
            plan = self._await(self.pool.submit(self._plan, source))
            loader = Loader.of(
                source,
                self.store,
                self.settings,
                writers=writers,
                should_stop=self.should_stop,
            )
            labeller = self._labeller()
            position = self.job.position
            for items, digests in self._ahead(
                plan.items[:position], lambda part: [loader.identify(item) for item in part]
            ):
                for item, digest in zip(items, digests, strict=True):
                    labeller.see(item, digest)
            self._save(labeller, [], position, len(plan.items))
            for items, loaded in self._ahead(plan.items[position:], loader.load):
                position += len(items)
                to_label = labeller.settle(loaded)
                if to_label or time.monotonic() - self._renewed_at > 1.0:
                    self._check_disk()
                    self._save(labeller, to_label, position, len(plan.items))
            self._save(labeller, [], position, len(plan.items))

    def _open(self) -> Archive | Table:
        path = self.files.path(self.job.id)
        options = Options.from_json(self.job.options)
        return open_file(path, self.job.name, self.store.kind, options)

    def _plan(self, source: Source) -> Plan:
        with self.store.db.read() as conn:
            known = classes.read_names(conn)
        return make_plan(source, known, self.job.report.get("layout", "auto"))

    def _labeller(self) -> Labeller:
        job = self.job
        by = Actor(job.who, job.key_id)
        return Labeller(
            job.who,
            by,
            Report.from_json(job.report),
            detail={"import": job.id},
            noun=self.store.kind.noun,
            batch_id=job.batch_id,
        )

    def _ahead(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], list[_Result]]
    ) -> Iterator[tuple[Sequence[Item], list[_Result]]]:
        """Do the work in the pool, a few parts ahead. Yields each part with what came of it."""
        ahead: deque[tuple[Sequence[Item], Future[list[_Result]]]] = deque()
        try:
            for start in range(0, len(items), CHUNK):
                part = items[start : start + CHUNK]
                ahead.append((part, self.pool.submit(work, part)))
                if len(ahead) > _AHEAD:
                    first, future = ahead.popleft()
                    yield first, self._await(future)
            while ahead:
                first, future = ahead.popleft()
                yield first, self._await(future)
        finally:
            for _, future in ahead:
                future.cancel()

    def _await(self, future: Future[_Result]) -> _Result:
        """Renew the lease meanwhile. Raises _Stopped, and what the work raises."""
        while True:
            if self.should_stop():
                future.cancel()
                raise _Stopped
            if time.monotonic() - self._renewed_at > _RENEW_EVERY_S:
                self._renew()
            try:
                return future.result(timeout=0.5)
            except NotDone:
                if future.done():  # the work itself has raised one
                    raise

    def _renew(self) -> None:
        with self.store.db.write(durable=False) as conn:
            if not jobs.save(conn, self.job, self.store.db.clock()):
                raise _Stopped
        self._renewed_at = time.monotonic()

    def _save(
        self, labeller: Labeller, to_label: Sequence[Loaded], position: int, total: int
    ) -> None:
        """Label, and store how far it is, in one transaction."""
        now = self.store.db.clock()
        with self.store.db.write() as conn:
            # First: the row is locked before what others lock, who cancel it.
            if not jobs.save(conn, self.job, now, position=position, total=total):
                raise _Stopped
            labeller.label(conn, self.store.blobs, to_label, now)
            report = {**self.job.report, **labeller.report.to_json()}
            jobs.save(conn, self.job, now, report=report, batch_id=labeller.batch_id)
        self._renewed_at = time.monotonic()

    def _check_disk(self) -> None:
        disk = self.store.disk
        if not disk.has_room:
            raise DiskFull(
                f"the disk has less than {disk.min_bytes:,} bytes free "
                "(EVERGREEN_MIN_FREE_DISK_MB): free some, and import it again"
            )

    def _leave(self) -> None:
        now = self.store.db.clock()
        with self.store.db.write() as conn:
            if not jobs.get(conn, self.job.id).is_cancel_requested:
                jobs.hand_back(conn, self.job, now)
                return
            jobs.finish(conn, self.job, "cancelled", now)
        self.files.delete(self.job.id)

    def _end(self, state: str, error: str | None = None) -> None:
        with self.store.db.write() as conn:
            jobs.finish(conn, self.job, state, self.store.db.clock(), error)
        self.files.delete(self.job.id)
        log.info("import.ended", extra={"import": self.job.id, "state": state})


def _close(opening: Future[Archive | Table]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
