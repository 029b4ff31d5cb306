"""`evergreen doctor`: check every row against every blob, and the home folder, and repair them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cli import home
from cli.actor import actor
from cli.console import count, err, out, print_json
from cli.exit_codes import ARTIFACT, FAILED, INTERRUPTED, STORE
from core import audit
from core.doctor import database_check, home_check
from core.doctor.blob_check import BlobCheck
from core.doctor.blob_check import Progress as OnProgress
from core.doctor.findings import Finding, Report
from core.errors import InvalidRequest, StoreError
from core.settings import Settings, load_settings
from core.store.blob_folder import PREFIXES, BlobFolder
from core.system.priority import yield_to_others

_LOST_AREAS = {"images", "versions"}


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired without loss.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look for blobs, and do not read them.")
    ] = False,
    begin: Annotated[
        str,
        typer.Option("--from", metavar="XX", help="Continue at the blobs whose names begin so."),
    ] = PREFIXES[0],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every row against every blob, and the database, the disk and the permissions.

    Works with and without a running server. Lost images and files are recorded, so that the status
    names them. Nothing that a row names is deleted. Exits with 0 if all is well or repaired, 4 if
    an image or a file of a version is lost, 5 if a store is unavailable, and 1 otherwise.
    """
    settings = load_settings()
    if begin not in PREFIXES:
        raise InvalidRequest(f"--from is {begin!r}; send two hexadecimal digits, such as 7f")
    home.require(settings)
    yield_to_others()
    report = _examine(settings, begin, repair=repair, reads=not quick, is_silent=json)
    if json:
        print_json(_as_json(report))
    else:
        _print(report)
    code = _exit_code(report)
    if code:
        raise typer.Exit(code)


def _examine(
    settings: Settings, begin: str, *, repair: bool, reads: bool, is_silent: bool
) -> Report:
    """Check all, from what the other checks need to what takes longest. Raises StoreError."""
    report = Report()
    report.findings.extend(home_check.check_permissions(settings, repair=repair))
    report.findings.extend(home_check.check_disk(settings))
    with ExitStack() as stack:
        try:
            store = stack.enter_context(home.opened_as_it_is(settings))
            report.findings.extend(database_check.check_integrity(store.db, reads=reads))
            schema = list(database_check.check_schema(store.db, repair=repair))
        except StoreError as error:
            report.add(Finding("database", str(error), "mend it, or restore it from a backup"))
            report.is_unreachable = True
            return report
        report.findings.extend(schema)
        if any(finding.is_open for finding in schema):
            return report
        report.findings.extend(home_check.check_packages(store.kind))
        report.findings.extend(database_check.check_processes(store.db))
        report.findings.extend(home_check.check_leftovers(settings, repair=repair))
        report.findings.extend(home_check.check_caches(settings, repair=repair))
        report.findings.extend(database_check.check_embeddings(store, repair=repair))
        folder = BlobFolder(settings.resolved_blob_url)
        check = BlobCheck(store, folder, report, repair, reads)
        with _progress(is_silent) as on_progress:
            check.run(on_progress, begin)
        if repaired := [finding.area for finding in report.findings if finding.repaired]:
            with store.db.write() as conn:
                now = store.db.clock()
                audit.record(conn, actor(), "home.repaired", "home", now, areas=sorted(repaired))
    return report


@contextmanager
def _progress(is_silent: bool) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=is_silent or not err.is_terminal) as shown:
        task = shown.add_task("Blobs", total=len(PREFIXES))

        def update(done: int, num_blobs: int, num_bytes: int) -> None:
            text = f"{num_blobs:,} blobs, {num_bytes / 1e6:,.0f} MB"
            shown.update(task, completed=done, description=text)

        yield update


def _exit_code(report: Report) -> int:
    if report.is_unreachable:
        return STORE
    if report.resume_from is not None:
        return INTERRUPTED
    if any(finding.is_open and finding.area in _LOST_AREAS for finding in report.findings):
        return ARTIFACT
    return 0 if report.is_sound else FAILED


def _print(report: Report) -> None:
    for finding in report.findings:
        out.print(f"{_mark(finding)}  {finding.area}: {finding.text}", soft_wrap=True)
        if finding.repaired:
            out.print(f"          {finding.repaired}", soft_wrap=True)
        elif finding.is_problem and finding.remedy:
            out.print(f"          {finding.remedy}", soft_wrap=True)
    read = f"{count(report.num_blobs, 'blob')}, {report.num_bytes / 1e6:,.1f} MB read"
    num_open = sum(finding.is_open for finding in report.findings)
    if report.resume_from is not None:
        err.print(f"Not finished. To continue: evergreen doctor --from {report.resume_from}")
    out.print(f"{read}: {count(num_open, 'problem') if num_open else 'all is well'}.")


def _mark(finding: Finding) -> str:
    if finding.repaired:
        return "repaired"
    return "problem " if finding.is_problem else "        "


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "is_sound": report.is_sound,
        "blobs": report.num_blobs,
        "bytes": report.num_bytes,
        "orphans": report.num_orphans,
        "resume_from": report.resume_from,
        "findings": [asdict(finding) for finding in report.findings],
    }
