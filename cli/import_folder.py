"""`evergreen import`: label the images of a folder that holds one folder per class.

Several threads read, check and store the images. Labels are appended in the order of the folder,
one batch per transaction, so an interrupted import keeps its batches.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import err
from cli.exit_codes import DONE, FAILED, INTERRUPTED
from cli.image_file import read_image
from cli.import_report import Report, print_report, progress_bar
from cli.labelled_folder import LabelledFile, Verdict, decide, join_classes, scan
from core.errors import (
    BodyTooLarge,
    ImageTooCostly,
    ImageTooLarge,
    InvalidRequest,
    UndecodableImage,
)
from core.inputs.pixels import Limits
from core.inputs.trailing import without_trailing
from core.labelling import classes, intake, labels
from core.labelling.examples import NewExample
from core.labelling.label_request import LabelRequest
from core.settings import Settings, load_settings
from core.store.blobs import sha256
from core.store.store import Store
from core.system.host import available_cores

WHO = "import"
_BATCH = 32
_MAX_THREADS = 8


def import_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds one folder per class.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be imported.")
    ] = False,
) -> None:
    """Label a folder of images, one folder per class.

    DIR/cat/1.jpg is labelled cat, and so is DIR/cat/2024/may/2.jpg. Repeat it as often as you like:
    it skips imported images and relabels images that moved to another folder. Labels that users
    corrected after an import stay as they are.
    """
    settings = load_settings()
    scanned = scan(folder)
    report = Report(is_dry_run=dry_run)
    for path in scanned.strays:
        report.skip(None, "not in a folder of a class", path)
    with contextlib.ExitStack() as stack:
        store = None
        if not dry_run or home.exists(settings):
            store = stack.enter_context(home.opened(settings))
        job = _Import.read(store, settings, dry_run)
        files, report.joined = join_classes(scanned.files, job.names)
        has_stopped = _import(files, job, report)
        print_report(report, store)
    if has_stopped:
        err.print("Stopped. The images above are stored. The same command continues.")
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(DONE if report.num_usable else FAILED)


@dataclass(frozen=True, slots=True)
class _Import:
    store: Store | None
    settings: Settings
    is_dry_run: bool
    # By image: the current label, and the one that the last import gave.
    current: dict[str, str] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    # By identity of a class: its stored name.
    names: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def read(store: Store | None, settings: Settings, is_dry_run: bool) -> _Import:
        if store is None:
            return _Import(None, settings, is_dry_run)
        with store.db.read() as conn:
            current = {row.image: row.label for row in labels.current(conn)}
            imported = labels.newest_of(conn, WHO)
            names = classes.read_names(conn)
            return _Import(store, settings, is_dry_run, current, imported, names)


@dataclass(frozen=True, slots=True)
class _Prepared:
    image: str
    verdict: Verdict
    # None if there is nothing to label.
    new: NewExample | None = None


def _import(files: list[LabelledFile], job: _Import, report: Report) -> bool:
    """Import the files. Returns whether Ctrl-C ended it early."""
    first_of_image: dict[str, LabelledFile] = {}
    batch: list[tuple[LabelledFile, _Prepared]] = []
    prepared_all = _prepare_all(files, job)
    try:
        with progress_bar(len(files)) as advance, contextlib.closing(prepared_all):
            for file, result in prepared_all:
                advance()
                if isinstance(result, str):
                    report.skip(file.label, result, file.path)
                    continue
                first = first_of_image.setdefault(result.image, file)
                if first.label != file.label:
                    report.skip(file.label, "also in another class", file.path)
                elif first is not file:
                    report.count(file.label, "already there")
                elif result.new is None:
                    report.count(file.label, result.verdict)
                else:
                    batch.append((file, result))
                if len(batch) == _BATCH:
                    _append(batch, job, report)
            _append(batch, job, report)
    except KeyboardInterrupt:
        return True
    return False


def _prepare_all(
    files: list[LabelledFile], job: _Import
) -> Generator[tuple[LabelledFile, _Prepared | str], None, None]:
    """Prepare the files in threads, a few ahead of the consumer. Yields them in order."""
    num_threads = min(available_cores(), _MAX_THREADS)
    ahead: deque[tuple[LabelledFile, Future[_Prepared | str]]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for file in files:
            ahead.append((file, pool.submit(_prepare, file, job)))
            if len(ahead) > 4 * num_threads:
                first, future = ahead.popleft()
                yield first, future.result()
        for first, future in ahead:
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(file: LabelledFile, job: _Import) -> _Prepared | str:
    """Check one file, and store its bytes if its label is new. Or return why it is skipped."""
    try:
        content = read_image(file.path, job.settings)
        if not content:
            return "empty"
        image = sha256(content)
        if image not in job.current:  # where an earlier release has stored it whole
            content = without_trailing(content)
            image = sha256(content)
        verdict = decide(file.label, job.current.get(image), job.imported.get(image))
        if verdict in ("already there", "corrected since"):
            return _Prepared(image, verdict)
        new = intake.prepare(content, Limits(job.settings.max_pixels), "import")
    except (BodyTooLarge, ImageTooLarge):
        return "too large"
    except ImageTooCostly:
        return "too costly to decode"
    except UndecodableImage:
        return "not a readable image"
    except InvalidRequest:
        return "not a file, or not readable"
    if job.store is not None and not job.is_dry_run:
        job.store.blobs.put(content)
    return _Prepared(image, verdict, new)


def _append(batch: list[tuple[LabelledFile, _Prepared]], job: _Import, report: Report) -> None:
    if job.store is not None and not job.is_dry_run:
        requests = [
            (prepared.new, LabelRequest(file.label, WHO, source="import"))
            for file, prepared in batch
            if prepared.new is not None
        ]
        intake.label_prepared(job.store, requests, job.store.db.clock(), actor())
    for file, prepared in batch:
        report.count(file.label, prepared.verdict)
    batch.clear()
