"""Do one requested run, and no other, in the process that asked for it: no trainer is running."""

from __future__ import annotations

import logging
import threading

from core import leases, runs
from core.errors import StoreError
from core.ids import new_id
from core.registry.bootstrap import ensure_first_version
from core.runs import Run
from core.settings import Settings
from core.store.store import open_store
from training.pipeline.context import RunContext, open_context
from training.pipeline.run import attempt
from training.recipe import load_recipe
from training.worker.planned_runs import request_if_planned

_POLL_EVERY_S = 0.1

log = logging.getLogger(__name__)


class RequestedRun:
    def __init__(self, context: RunContext, run: Run) -> None:
        self._context = context
        self._run = run
        self._stop = threading.Event()

    @staticmethod
    def open(settings: Settings, run: Run) -> RequestedRun:
        """Raises InvalidRecipe, StoreError."""
        recipe = load_recipe(settings.recipe)
        store = open_store(settings)
        ensure_first_version(store)
        return RequestedRun(open_context(store, recipe, settings, new_id()), run)

    def stop(self) -> None:
        """Let `serve` end soon. A run that has not ended is handed back."""
        self._stop.set()

    def serve(self) -> None:
        """Do the run whenever it waits, until `stop`: a trainer that starts may have it too."""
        while not self._stop.is_set():
            try:
                if not self._do_if_waiting():
                    self._stop.wait(_POLL_EVERY_S)
            except StoreError as error:
                log.warning("trainer.store_unavailable", extra={"error": str(error)})
                self._stop.wait(1.0)
        self._context.store.db.close()

    def _do_if_waiting(self) -> bool:
        db = self._context.store.db
        now = db.clock()
        with db.read() as conn:
            if not leases.is_to_do(runs.get(conn, self._run.id), now):
                return False
        with db.write(durable=False) as conn:
            claimed = leases.claim(conn, self._context.owner, now, (self._run.tier,))
        if claimed is None:
            return False
        attempt(self._context, claimed, self._stop.is_set)
        if claimed.tier in runs.QUICK:
            # A long run takes minutes that nobody asked for. It waits until somebody does.
            planner = self._context.recipe.planner
            request_if_planned(self._context.store, planner, db.clock())
        return True
