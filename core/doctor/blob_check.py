"""The check of every row against every blob, one sub-folder of the blob store after the other.

It holds the names of one sub-folder in memory, and reads blobs in chunks. Rows are read before the
folder is listed: a blob is stored before its row, so each row's blob must be in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

from core.doctor import uses
from core.doctor.bundled import Bundled
from core.doctor.findings import Finding, Report, fact
from core.doctor.uses import Use, Uses
from core.errors import StoreError
from core.store import lost_blobs
from core.store.blob_folder import PREFIXES, BlobFolder, Unreadable
from core.store.store import Store

_MOST_NAMED = 10
# How many sub-folders are done, and the number of blobs and bytes so far.
Progress = Callable[[int, int, int], None]


@dataclass(slots=True)
class BlobCheck:
    store: Store
    folder: BlobFolder
    report: Report
    repair: bool
    # Whether blobs are read and hashed, not only looked for.
    reads: bool = True
    bundled: Bundled = field(default_factory=Bundled)
    _num_without_image: int = 0
    _unlabelled: list[str] = field(default_factory=list)

    def run(self, progress: Progress, begin: str = PREFIXES[0]) -> None:
        """Check from the sub-folder `begin` on. Ctrl-C ends it, and the report says where."""
        prefix = begin
        try:
            if self.folder.is_empty:
                raise StoreError("it is empty or gone: check that its disk is mounted")
            with self.store.db.read() as conn:
                known_lost = lost_blobs.read(conn).keys()
                of_versions, findings = uses.of_versions(conn, self.store)
            self.report.findings.extend(findings)
            for done, prefix in enumerate(PREFIXES):
                if prefix >= begin:
                    self._check_prefix(prefix, of_versions, known_lost)
                    progress(done + 1, self.report.num_blobs, self.report.num_bytes)
        except KeyboardInterrupt:
            self.report.resume_from = prefix
        except StoreError as error:
            self.report.is_unreachable = True
            self.report.resume_from = prefix
            text = f"the blob store could not be checked from {prefix} on: {error}"
            self.report.add(Finding("blobs", text, "mend the store, and check again"))
        self._sum_up()

    def _check_prefix(self, prefix: str, of_versions: Uses, known_lost: Set[str]) -> None:
        with self.store.db.read() as conn:
            wanted = uses.of_images(conn, prefix)
        for digest, those in of_versions.items():
            if digest.startswith(prefix):
                wanted.setdefault(digest, []).extend(those)
        present = self.folder.digests(prefix)
        self.report.num_orphans += len(present - wanted.keys())
        lost = {}
        for digest, those in sorted(wanted.items()):
            # What was damaged must be read before it counts as whole.
            reads = self.reads or digest in known_lost or digest not in present
            problem = self._problem_of(digest) if reads else None
            self.report.num_blobs += problem is None
            if problem is not None and self._is_lost(digest, problem, those):
                lost[digest] = problem
        back = known_lost & wanted.keys() - lost.keys()
        if lost or back:
            with self.store.db.write(durable=False) as conn:
                lost_blobs.record(conn, lost, self.store.db.clock())
                lost_blobs.clear(conn, back)

    def _problem_of(self, digest: str) -> str | None:
        """How the blob is lost; None: it is not."""
        try:
            found = self.folder.hash(digest)
        except Unreadable as error:
            return self._unreadable(digest, error)
        if found is None:
            return "missing"
        self.report.num_bytes += found[1]
        return None if found[0] == digest else "damaged"

    def _unreadable(self, digest: str, error: Unreadable) -> str | None:
        """A file that its permissions hide is not lost."""
        repaired = ""
        if self.repair and self.folder.make_readable(digest):
            repaired = "its owner may read it again"
        self.report.add(
            Finding("permissions", str(error), "give it to the user who serves", repaired=repaired)
        )
        return None

    def _is_lost(self, digest: str, problem: str, those: list[Use]) -> bool:
        """Repair it or report it. Returns whether it is recorded as lost."""
        needed = [use for use in those if use.is_needed]
        if not needed:
            if any(use.area == "predictions" for use in those):
                self._num_without_image += 1
            else:
                self._unlabelled.extend(use.text for use in those)
            return False
        repaired = ""
        if self.repair and self.bundled.restore(digest, self.store):
            repaired = "stored again, as it comes with this release"
        named = "; ".join(use.text for use in needed[:_MOST_NAMED])
        remedy = "restore it from a backup"
        if needed[0].area == "images":
            remedy += ", label the same input again, or erase it: evergreen lost-images"
        text = f"{named}: blob {digest} is {problem}"
        self.report.add(Finding(needed[0].area, text, remedy, repaired=repaired))
        return not repaired

    def _sum_up(self) -> None:
        report = self.report
        for number, text in (
            (
                self._num_without_image,
                "inputs of predictions without a label that are gone",
            ),
            (report.num_orphans, "blobs that no row names, which are left as they are"),
        ):
            if number:
                report.add(fact("blobs", f"{text}: {number:,}"))
        if self._unlabelled:
            report.add(fact("blobs", f"not there, and not needed: {_some(self._unlabelled)}"))


def _some(texts: Iterable[str]) -> str:
    listed = sorted(texts)
    more = len(listed) - _MOST_NAMED
    return "; ".join(listed[:_MOST_NAMED]) + (f"; and {more:,} more" if more > 0 else "")
