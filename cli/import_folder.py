"""`evergreen import`: label what is in a folder, a zip archive or a table.

Several threads read, check and store the inputs. Labels are appended in the order of the files, one
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
from core.exchange import sources
from core.exchange.importing.known import WHO
from core.exchange.importing.loading import Loaded, Loader
from core.exchange.importing.report import Report
from core.exchange.reading.items import LAYOUTS, Item, Layout
from core.exchange.reading.plan import Plan, make_plan
from core.exchange.tables.columns import Columns
from core.inputs import kinds
from core.labelling import classes
from core.settings import load_settings
from core.store.store import Store
from core.system.host import available_cores

# Files that a thread loads at a time, and labels of a transaction.
_LOADED = 32
_BATCH = 32
_MAX_THREADS = 8
# Threads that store inputs: a disk makes several durable at once.
_WRITERS = 4


def import_folder(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE",
            help="A folder or a zip archive with one folder per class, or with a label file: CSV, "
            "JSON lines, or Label Studio's JSON. For texts, such a file alone, too.",
        ),
    ],
    text: Annotated[
        str, typer.Option("--text", metavar="COLUMN", help="The column with the texts.")
    ] = "",
    label: Annotated[
        str, typer.Option("--label", metavar="COLUMN", help="The column with the labels.")
    ] = "",
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
    """Label a folder, an archive or a table.

    DIR/cat/1.jpg is labelled cat, and so is DIR/cat/2024/may/2.jpg. Images in DIR/train/cat are
    trained on, and those in DIR/test/cat are held out. Texts may be .txt files in folders, or rows
    of FILE.csv, .tsv, .jsonl or .json. Repeat it as often as you like: it skips what is imported
    and relabels what moved to another class. Labels that users corrected after an import stay as
    they are.
    """
    settings = load_settings()
    with contextlib.ExitStack() as stack:
        chosen = _layout(layout)
        store = None
        if home.exists(settings):
            store = stack.enter_context(home.opened(settings))
        kind = kinds.requested(settings.input) if store is None else store.kind
        opened = stack.enter_context(sources.opened(source, kind, Columns(text, label)))
        if store is None and not dry_run:
            store = stack.enter_context(home.opened(settings))
        plan = make_plan(opened, _known_names(store), chosen)
        detail = {"name": source.name}
        labeller = ByClass(WHO, actor(), Report(), detail, kind.noun, joined=plan.joined)
        writers = stack.enter_context(ThreadPoolExecutor(_WRITERS, "import-store"))
        loader = Loader.of(opened, store, settings, dry=dry_run, writers=writers)
        has_stopped = _import(plan, loader, labeller)
        if as_record:
            as_json(labeller, is_dry_run=dry_run)
        else:
            print_report(labeller, store, is_dry_run=dry_run)
    if has_stopped:
        err.print(f"Stopped. The {kind.plural} above are stored. The same command continues.")
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(DONE if labeller.report.num_usable else FAILED)


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
