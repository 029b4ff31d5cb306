"""Ask for imports and work on them, as serving processes do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.audit import Actor
from core.exchange.importing import jobs
from core.exchange.importing.claims import Claims
from core.exchange.importing.job_run import JobRun
from core.exchange.importing.jobs import Import
from core.exchange.importing.upload_files import UploadFiles
from core.exchange.reading.items import Layout
from core.exchange.sources import Options
from core.ids import new_id
from core.settings import Settings
from core.store.store import Store
from tests.core.exchange.archives import Entry, packed

ANN = Actor("ann")
HOST = "here"


class Worker:
    """A process of a machine, with the archives of that machine."""

    def __init__(self, store: Store, home: Path, host: str = HOST) -> None:
        self.store = store
        self.settings = Settings(home=home, device="cpu", workers=1)
        self.files = UploadFiles(self.settings)
        self.files.folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.claims = Claims(store.db, new_id(), host, self.files.has)

    def upload(
        self,
        entries: Mapping[str, Entry] | bytes,
        layout: Layout = "auto",
        options: Options | None = None,
    ) -> Import:
        content = entries if isinstance(entries, bytes) else packed(entries)
        import_id = new_id()
        self.files.path(import_id).write_bytes(content)
        with self.store.db.write() as conn:
            return jobs.add(
                conn,
                import_id,
                name="photos.zip",
                num_bytes=len(content),
                who="ann",
                host=self.host,
                layout=layout,
                by=ANN,
                now=self.store.db.clock(),
                options=None if options is None else options.to_json(),
            )

    def work(self, should_stop: Callable[[], bool] = lambda: False) -> Import | None:
        """Work on the next import, if there is one. Returns it as it is then."""
        job = self.claims.next(self.store.db.clock())
        if job is None:
            return None
        with ThreadPoolExecutor(1) as pool:
            JobRun(self.store, self.settings, self.files, job, pool, should_stop).run()
        return read(self.store, job)

    def imported(
        self, entries: Mapping[str, Entry] | bytes, options: Options | None = None
    ) -> Import:
        self.upload(entries, options=options)
        done = self.work()
        assert done is not None
        return done


def read(store: Store, job: Import) -> Import:
    with store.db.read() as conn:
        return jobs.get(conn, job.id)


def counts(job: Import) -> dict[str, int]:
    """Those that are not 0."""
    return {kind: number for kind, number in job.report["counts"].items() if number}
