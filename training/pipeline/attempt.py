"""An attempt at a run: do it, and record how it ended, however it does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from threadpoolctl import threadpool_limits

from core import leases
from core.errors import EvergreenError, StoreError
from core.runs import Run
from training.pipeline.context import RunContext
from training.pipeline.progress import Progress, RunCancelled, RunHandedBack
from training.pipeline.run import execute

log = logging.getLogger(__name__)


def attempt(
    context: RunContext,
    run: Run,
    is_stopping: Callable[[], bool],
    on_beat: Callable[[float], None] = lambda now: None,
) -> None:
    """Do a run that this owner has claimed. Raises StoreError: its lease then runs out, and it is
    tried again."""
    log.info("run.started", extra={"run_id": run.id, "tier": run.tier, "trigger": run.trigger})
    started = time.perf_counter()
    progress = Progress(context.store, run, context.owner, is_stopping, on_beat)
    state = "finished"
    fields: dict[str, Any] = {}
    try:
        # One core: predictions need the others, and a linear algebra library that waits for cores
        # that are taken is ten times slower than one that does not ask for them.
        with threadpool_limits(1):
            outcome = execute(context, run, progress)
        fields = {"outcome": outcome.outcome, "version": outcome.version, "reason": outcome.reason}
    except RunHandedBack:
        with context.store.db.write(durable=False) as conn:
            leases.hand_back(conn, run.id, context.owner, time.time())
        log.info("run.handed_back", extra={"run_id": run.id})
        return
    except RunCancelled:
        state, fields = "cancelled", {"reason": "cancelled on request"}
    except StoreError:
        raise
    except EvergreenError as error:
        state, fields = "failed", {"error": str(error)}
    except Exception as error:
        # A run may fail in any way; the trainer lives on for the next.
        log.exception("run.crashed", extra={"run_id": run.id})
        state, fields = "failed", {"error": f"{type(error).__name__}: {error}"}
    with context.store.db.write(durable=False) as conn:
        leases.finish(conn, run.id, context.owner, state=state, now=time.time(), **fields)
    duration_s = round(time.perf_counter() - started, 3)
    log.info(f"run.{state}", extra={"run_id": run.id, "duration_s": duration_s, **fields})
