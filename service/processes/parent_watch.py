"""The parent watch: a worker whose master process was killed ends too.

Otherwise the worker would keep serving on the master's port. Nothing could stop or restart it, and
no new server could bind to that port.

The master writes its process id into the environment of its children. A worker that reads only its
own parent's id cannot see that the master was killed while the worker started.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, MutableMapping

_VARIABLE = "_EVERGREEN_MASTER"
_POLL_EVERY_S = 0.5

log = logging.getLogger(__name__)


def announce_master(environ: MutableMapping[str, str]) -> None:
    """In the master, before it starts a child."""
    environ[_VARIABLE] = str(os.getpid())


def end_with_master(environ: Mapping[str, str], within_s: float) -> None:
    """In a worker, as early as possible: once the master has ended, send this process SIGTERM, as
    the master would have. Kill it if it does not end within `within_s`."""
    parent = int(environ.get(_VARIABLE) or os.getppid())
    threading.Thread(target=_watch, args=(parent, within_s), name="parent", daemon=True).start()


def _watch(parent: int, within_s: float) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_EVERY_S)
    log.warning("worker.orphaned", extra={"parent": parent})
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(within_s)
    os.kill(os.getpid(), signal.SIGKILL)
