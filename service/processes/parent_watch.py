"""The parent watch: a worker whose master process was killed ends too.

Otherwise the worker would keep serving on the master's port. Nothing could stop or restart it, and
no new server could bind to that port.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

_POLL_EVERY_S = 0.5
# Read on import: the master may be killed while this process starts.
_PARENT = os.getppid()

log = logging.getLogger(__name__)


async def end_with_parent() -> None:
    """Wait until the parent of this process has ended. Then send this process SIGTERM, as the
    parent would have."""
    while os.getppid() == _PARENT:
        await asyncio.sleep(_POLL_EVERY_S)
    log.warning("worker.orphaned", extra={"parent": _PARENT})
    os.kill(os.getpid(), signal.SIGTERM)
