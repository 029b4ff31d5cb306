"""`evergreen import`: label the images of a folder or of a zip archive.

Several threads read, check and store the images. Labels are appended in the order of the files, one
batch per transaction, so an interrupted import keeps its batches.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import err
from cli.exit_codes import DONE, FAILED, INTERRUPTED
from cli.import_report import ByClass, as_json, print_report, progress_bar
from core.errors import InvalidRequest
from core.exchange.importing.known import WHO
from core.exchange.importing.loading import Loaded, Loader
from core.exchange.importing.report import Report
from core.exchange.reading.archive import Archive
from core.exchange.reading.folder import Folder
from core.exchange.reading.items import LAYOUTS, Item, Layout
from core.exchange.reading.plan import Plan, make_plan
from core.exchange.reading.source import Source
from core.labelling import classes
from core.settings import load_settings
from core.store.store import Store
from core.system.host import available_cores

# Files that a thread loads at a time, and labels of a transaction.
_LOADED = 8
_BATCH = 32
_MAX_THREADS = 8


def import_folder(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE.zip",
            help="Holds one folder per class, or images with a label file: CSV, JSON lines, or "
            "Label Studio's JSON.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be imported.")
    ] = False,
    layout: Annotated[
        str,
        typer.Option(
            metavar="auto|classes",
            help="classes: each folder in DIR is a class, even one called train or test.",
        ),
    ] = "auto",
    as_record: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Label a folder or an archive of images.

    DIR/cat/1.jpg is labelled cat, and so is DIR/cat/2024/may/2.jpg. Images in DIR/train/cat are
    trained on, and those in DIR/test/cat are held out. Repeat it as often as you like: it skips
    imported images and relabels images that moved to another folder. Labels that users corrected
    after an import stay as they are.
    """
    settings = load_settings()
    with contextlib.ExitStack() as stack:
        opened = _open(source, stack)
        chosen = _layout(layout)
        store = None
        if not dry_run or home.exists(settings):
            store = stack.enter_context(home.opened(settings))
        plan = make_plan(opened, _known_names(store), chosen)
        detail = {"name": source.name}
        labeller = ByClass(WHO, actor(), Report(), detail, joined=plan.joined)
        loader = Loader.of(opened, store, settings, dry=dry_run)
        has_stopped = _import(plan, loader, labeller)
        if as_record:
            as_json(labeller, is_dry_run=dry_run)
        else:
            print_report(labeller, store, is_dry_run=dry_run)
    if has_stopped:
        err.print("Stopped. The images above are stored. The same command continues.")
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(DONE if labeller.report.num_usable else FAILED)


def _open(path: Path, stack: contextlib.ExitStack) -> Source:
    """Raises InvalidRequest, InvalidArchive."""
    if not path.is_file():
        return Folder(path)
    try:
        return stack.enter_context(Archive(path))
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error


def _layout(text: str) -> Layout:
    for known in LAYOUTS:
        if text == known:
            return known
    raise InvalidRequest(f"the layout is {text[:40]!r}; choose one of {', '.join(LAYOUTS)}")


def _known_names(store: Store | None) -> dict[str, str]:
    if store is None:
        return {}
    with store.db.read() as conn:
        return classes.read_names(conn)


def _import(plan: Plan, loader: Loader, labeller: ByClass) -> bool:
    """Import the files. Returns whether Ctrl-C ended it early."""
    to_label: list[Loaded] = []
    all_loaded = _load_all(plan.items, loader)
    try:
        with progress_bar(len(plan.items)) as advance, contextlib.closing(all_loaded):
            for part in all_loaded:
                for loaded in part:
                    to_label += labeller.settle([loaded])
                    if len(to_label) == _BATCH:
                        _label(to_label, loader, labeller)
                _advance(advance, len(part))
            _label(to_label, loader, labeller)
    except KeyboardInterrupt:
        return True
    return False


def _load_all(items: Sequence[Item], loader: Loader) -> Generator[list[Loaded], None, None]:
    """Load the files in threads, a few ahead of the consumer. Yields them in order."""
    num_threads = min(available_cores(), _MAX_THREADS)
    ahead: deque[Future[list[Loaded]]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for start in range(0, len(items), _LOADED):
            ahead.append(pool.submit(loader.load, items[start : start + _LOADED]))
            if len(ahead) > 2 * num_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _label(to_label: list[Loaded], loader: Loader, labeller: ByClass) -> None:
    store = loader.store
    if store is None or loader.is_dry_run:
        for loaded in to_label:
            labeller.count(loaded.item, loaded.kind)
    elif to_label:
        with store.db.write() as conn:
            labeller.label(conn, store.blobs, to_label, store.db.clock())
    to_label.clear()


def _advance(advance: Callable[[], None], number: int) -> None:
    for _ in range(number):
        advance()
