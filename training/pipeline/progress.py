"""Progress of a run: each step is told to the database, and told back whether to go on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from core import leases, runs
from core.errors import StoreError
from core.runs import Run
from core.store.store import Store
from core.system.background import call_back
from training.recipe import Recipe

# Often enough for a progress bar, seldom enough for the database.
_REPORT_EVERY_S = 0.25


class RunCancelled(Exception):
    """The run was cancelled, or its lease was lost."""


class RunHandedBack(Exception):
    """This process is stopping; the run goes back to wait for another."""


class Progress:
    def __init__(
        self,
        store: Store,
        run: Run,
        owner: str,
        is_stopping: Callable[[], bool],
        on_beat: Callable[[float], None],
    ) -> None:
        self._store = store
        self._run_id = run.id
        self._owner = owner
        self._is_stopping = is_stopping
        self._on_beat = on_beat
        self._step = "starting"
        self._fraction = 0.0
        self._reported_at = 0.0
        self._low, self._high = 0.0, 1.0

    def scale_to(self, low: float, high: float) -> None:
        """From now on fractions are of this part of the whole."""
        self._low, self._high = low, high

    def note_labels(self, snapshot: int, recipe: Recipe) -> None:
        """Which labels the run learns from, and how."""

        def note() -> None:
            with self._store.db.write(durable=False) as conn:
                runs.set_snapshot(conn, self._run_id, snapshot, recipe.to_json())

        call_back(note)

    def report(self, step: str, fraction: float) -> None:
        """Say where the run is (fraction, 0 to 1). Raises RunCancelled or RunHandedBack."""
        self._report(step, self._low + fraction * (self._high - self._low))

    def _report(self, step: str, fraction: float) -> None:
        is_new = step != self._step
        self._step, self._fraction = step, fraction
        now = time.time()
        if is_new or now - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = now
            call_back(lambda: self._beat(now))

    def should_stop(self) -> bool:
        """For long calculations to ask; `tell` then raises."""
        try:
            self._report(self._step, self._fraction)
        except (RunCancelled, RunHandedBack):
            self._reported_at = 0.0
            return True
        return False

    def renew_lease(self) -> None:
        """Keep the lease while a step takes long. Whether to go on, the work itself asks; it finds
        out as well when the database is gone."""
        with contextlib.suppress(RunCancelled, RunHandedBack, StoreError):
            self._beat(time.time())

    def _beat(self, now: float) -> None:
        if self._is_stopping():
            raise RunHandedBack
        self._on_beat(now)
        with self._store.db.execute_once() as conn:
            if not leases.beat(conn, self._run_id, self._owner, now, self._step, self._fraction):
                raise RunCancelled
