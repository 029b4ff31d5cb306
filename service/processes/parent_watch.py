"""A serving process whose master was killed ends too.

Otherwise it would go on answering on the master's port, with nobody to stop or to restart it, and
no new server could take that port.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

_LOOK_EVERY_S = 0.5
# As early as can be: the master may be killed while this process starts.
_PARENT = os.getppid()

log = logging.getLogger(__name__)


async def end_with_parent() -> None:
    """Wait until the parent of this process is gone; then end it as the parent would have."""
    while os.getppid() == _PARENT:
        await asyncio.sleep(_LOOK_EVERY_S)
    log.warning("worker.orphaned", extra={"parent": _PARENT})
    os.kill(os.getpid(), signal.SIGTERM)
