"""Leftovers: unfinished files and temporary folders of processes that were killed.

They are swept in a thread of low priority after a start. A worker that lives may be writing, so
only old ones are. Sockets and load tables are swept in `service/traffic/load_table.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from core.settings import Settings
from core.system.files import sweep
from core.system.priority import yield_to_others

_OLD_S = 3600.0

log = logging.getLogger(__name__)


def folders_of(settings: Settings) -> list[Path]:
    """The folders in which a killed process may leave unfinished files."""
    blobs = settings.resolved_blob_url.removeprefix("file://")
    return [
        settings.home / "cache",
        settings.home / "spool",
        settings.home / "imports",
        *([] if "://" in blobs else [Path(blobs)]),
    ]


def sweep_in_background(folders: Sequence[Path]) -> threading.Thread:
    thread = threading.Thread(target=_sweep, args=(folders,), name="leftovers", daemon=True)
    thread.start()
    return thread


def _sweep(folders: Sequence[Path]) -> None:
    yield_to_others()
    num_deleted = sum(sweep(folder, _OLD_S) for folder in folders)
    if num_deleted:
        log.info("leftovers.deleted", extra={"count": num_deleted})
