"""Progress of a run: reports each step to the database, and learns there whether to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from core import leases, runs
from core.errors import StoreError
from core.runs import Run
from core.store.store import Store
from core.system.background import call_back, is_starved
from training.recipe import Recipe

# A progress bar needs no more, and the database has other work.
_REPORT_EVERY_S = 0.25


class RunCancelled(Exception):
    """The run was cancelled, or its lease was lost."""


class RunHandedBack(Exception):
    """This process is stopping. The run waits for another process."""


class RunStarved(RunHandedBack):
    """No core has been idle for a minute. The run is done again, at low priority."""


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
        """Map the fractions of later reports to this part of the whole run."""
        self._low, self._high = low, high

    def record_snapshot(self, snapshot: int, recipe: Recipe, num_trained: int) -> None:
        """Record which labels the run learns from, its recipe and number of examples."""

        def record() -> None:
            with self._store.db.write(durable=False) as conn:
                runs.set_snapshot(conn, self._run_id, snapshot, recipe.to_json(), num_trained)

        call_back(record)

    def record_epoch(self, figures: dict[str, float]) -> None:
        """Record the number of an epoch of fine-tuning, its losses and its accuracy."""

        def record() -> None:
            with self._store.db.write(durable=False) as conn:
                runs.add_epoch(conn, self._run_id, figures)

        call_back(record)

    def report(self, step: str, fraction: float) -> None:
        """Report the step and its fraction, 0 to 1. Raises RunCancelled, RunHandedBack or
        RunStarved."""
        self._report(step, self._low + fraction * (self._high - self._low))

    def _report(self, step: str, fraction: float) -> None:
        if is_starved():
            raise RunStarved
        is_new = step != self._step
        self._step, self._fraction = step, fraction
        now = self._store.db.clock()
        if is_new or abs(now - self._reported_at) >= _REPORT_EVERY_S:
            self._reported_at = now
            call_back(lambda: self._beat(now, step))

    def should_stop(self) -> bool:
        """Whether a long calculation should stop. If so, the next `report` raises."""
        try:
            self._report(self._step, self._fraction)
        except (RunCancelled, RunHandedBack):
            self._reported_at = 0.0
            return True
        return False

    def renew_lease(self, is_waiting: bool = False) -> None:
        """Renew the lease during a long step, and say where it waits for a core. Never raises.

        The work itself asks whether to go on, and notices when the database is gone.
        """
        with contextlib.suppress(RunCancelled, RunHandedBack, StoreError):
            self._beat(self._store.db.clock(), "waiting for a core" if is_waiting else self._step)

    def _beat(self, now: float, step: str) -> None:
        if self._is_stopping():
            raise RunHandedBack
        self._on_beat(now)
        with self._store.db.execute_once() as conn:
            if not leases.beat(conn, self._run_id, self._owner, now, step, self._fraction):
                raise RunCancelled
