"""The trainer: a process that embeds new examples, requests runs when they are due, and does them.

It does quick runs itself, one at a time, and starts a child process for long ones and for analyses.
All its state is in the database, so killing it loses nothing.

Its writes about runs are not durable. After a power cut they are repeated, whereas an fsync would
hold a lock that predictions wait for.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Sequence
from functools import partial

from core import leases, runs
from core.errors import ArtifactError, StoreError
from core.exchange.importing import jobs as imports
from core.ids import new_id
from core.labelling import labels
from core.labelling.labels import CurrentLabel
from core.registry import promotions, versions
from core.registry.bootstrap import ensure_first_version
from core.registry.latest import Latest, LatestPoller
from core.registry.versions import Version
from core.retention.leased_sweep import LeasedSweep
from core.retention.sweep import Sweeper
from core.runs import Run
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.background import run_idle
from training.embeddings import embed
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import Recipe, load_recipe
from training.worker import triggers
from training.worker.analyst import Analyst
from training.worker.learnable import can_learn
from training.worker.long_runs import LongRuns
from training.worker.planned_runs import request_if_planned
from training.worker.presence import Presence
from training.worker.self_healing import SelfHealing
from training.worker.triggers import NewLabels
from training.worker.upkeep import Upkeep

_TICK_S = 0.05
# Events that write no row, like a process that died, are found within this time.
_CHECK_AT_LEAST_EVERY_S = 0.5
# Clocks of two machines differ by less. A time further ahead is from before a clock was set back.
_MAX_SKEW_S = 5.0
_CHUNK = 64

log = logging.getLogger(__name__)


class Trainer:
    def __init__(self, store: Store, recipe: Recipe, settings: Settings) -> None:
        self._store = store
        self._recipe = recipe
        self._id = new_id()
        self._context = open_context(store, recipe, settings, self._id)
        self._presence = Presence(store, self._id, self._context.runtime.provider)
        self._long_runs = LongRuns()
        self._analyst = Analyst(store)
        self._self_healing = SelfHealing(store) if settings.self_healing else None
        named = settings.shadow_versions
        sweeper = Sweeper(store, recipe.capture, recipe.retention, self._context.cache, named)
        self._upkeep = Upkeep(LeasedSweep(sweeper, self._id, store.db.clock))
        self._stop = threading.Event()
        self._poller = LatestPoller(store.db)
        self._latest = Latest()
        # If no row changes, there is nothing to do until then.
        self._idle_until = 0.0
        # When a trigger fires if nothing else is labelled; infinity: never.
        self._due_at = math.inf
        # The labels up to here change nothing that a run could learn.
        self._nothing_to_learn_up_to = 0
        with store.db.read() as conn:
            self._trained_up_to = runs.newest_snapshot(conn)
        # A finished run has embedded its snapshot.
        self._embedded_up_to = self._trained_up_to

    @staticmethod
    def open(settings: Settings) -> Trainer:
        """Raises InvalidRecipe, StoreError."""
        recipe = load_recipe(settings.recipe)
        store = open_store(settings)
        ensure_first_version(store)
        return Trainer(store, recipe, settings)

    def stop(self) -> None:
        """Let `serve` end soon. The current run is handed back."""
        self._stop.set()

    def serve(self) -> None:
        """Work until `stop`."""
        log.info("trainer.ready")
        self._upkeep.start()
        self._analyst.start()
        while not self._stop.is_set():
            try:
                busy = self.tick(self._store.db.clock())
            except StoreError as error:
                log.warning("trainer.store_unavailable", extra={"error": str(error)})
                self._stop.wait(1.0)
                continue
            if not busy:
                self._stop.wait(self.pause_s(self._store.db.clock()))
        self.close()

    def pause_s(self, now: float) -> float:
        """Return the time until the next tick, which is earlier if a trigger fires earlier."""
        return max(0.0, min(_TICK_S, self._due_at - now))

    def close(self) -> None:
        """End the child processes and the upkeep, deregister, and close the store."""
        self._analyst.stop()
        self._long_runs.stop()
        self._upkeep.stop()
        self._presence.leave()
        self._store.db.close()

    def tick(self, now: float) -> bool:
        """Poll once, and do at most one piece of work. Returns whether there was any."""
        before, self._latest = self._latest, self._poller.poll()
        if self._self_healing is not None:
            self._self_healing.check(now, self._latest)
        # Promotions and activations are ignored: workers handle them, and need the CPU then.
        is_new = self._latest.work != before.work
        pause_s = min(self._idle_until, self._due_at) - now
        # A longer one is from before the clock was set back.
        if not is_new and 0 < pause_s <= _CHECK_AT_LEAST_EVERY_S:
            return False
        self._analyst.poll(self._latest)  # before the work, which needs the CPU
        is_busy = self._work(now)
        self._idle_until = 0.0 if is_busy else now + _CHECK_AT_LEAST_EVERY_S
        return is_busy

    def _work(self, now: float) -> bool:
        self._presence.renew(now)
        is_requested = self._request_if_due(now)
        if self._latest.pending is not None:
            promotions.advance_committed(  # in case there is no worker
                self._store.db, wait_s=self._context.load_within_s
            )
        unfinished: Sequence[Run] = ()
        if is_requested or self._latest.has_unfinished_runs:
            with self._store.db.read() as conn:
                unfinished = runs.unfinished(conn)
        if any(run.tier in runs.QUICK and leases.is_to_do(run, now) for run in unfinished):
            with self._store.db.write(durable=False) as conn:
                run = leases.claim(conn, self._id, now)
            if run is not None:
                attempt(self._context, run, self._stop.is_set, self._presence.renew)
                request_if_planned(self._store, self._recipe.planner, now)
                return True
        self._long_runs.poll(unfinished, now)
        return self._embed_ahead()

    def _request_if_due(self, now: float) -> bool:
        """Request a run if a trigger fires. Returns whether it does."""
        self._due_at = math.inf
        if self._latest.newest_label <= max(self._trained_up_to, self._nothing_to_learn_up_to):
            return False
        with self._store.db.read() as conn:
            self._trained_up_to = runs.newest_snapshot(conn)
            num_new, oldest, newest = labels.count_after(conn, self._trained_up_to)
            if num_new == 0 or any(_is_waiting(r, runs.QUICK) for r in runs.unfinished(conn)):
                return False
            last = runs.last_of(conn, runs.QUICK, until=now + _MAX_SKEW_S)
            new = NewLabels(
                num_new,
                _unless_ahead(oldest, now),
                _unless_ahead(newest, now),
                last.finished_at if last else None,
                last is not None and last.state == "failed",
                imports.is_any_held(conn, now),
            )
            trigger = triggers.due_trigger(new, now, self._recipe.triggers)
            if trigger is None:
                times = triggers.trigger_times(new, self._recipe.triggers).values()
                self._due_at = min(times, default=math.inf)
                return False
            # Counting takes long with many labels, so once is enough.
            if not can_learn(conn, self._trained_up_to):
                self._nothing_to_learn_up_to = self._latest.newest_label
                return False
        with self._store.db.write(durable=False) as conn:
            runs.request(conn, trigger=trigger, now=now)
        return True

    def _embed_ahead(self) -> bool:
        """Embed newly labelled examples before a run needs them. Returns whether there were any."""
        newest = self._latest.newest_label
        if newest == self._embedded_up_to:
            return False
        with self._store.db.read() as conn:
            rows = labels.labelled_after(conn, self._embedded_up_to, _CHUNK)
            live = promotions.newest_activation(conn)
            version = versions.get(conn, live.version) if live else None
        if version is None:
            return False
        work = partial(self._embed, version, [row for _, row in rows])
        run_idle(work, lambda _: self._report_if_possible())
        self._embedded_up_to = rows[-1][0] if len(rows) == _CHUNK else newest
        return True

    def _embed(self, version: Version, rows: Sequence[CurrentLabel]) -> None:
        try:
            manifest = versions.read_manifest(version, self._store)
            backbone = self._context.runtime.backbone(version.backbone, self._store.blobs)
        except ArtifactError as error:  # the next run ends with it
            extra = {"version": version.number, "error": str(error)}
            log.warning("version.load_failed", extra=extra)
            return
        embed(self._store, backbone, manifest.input_spec, rows, self._context.limits)

    def _report_if_possible(self) -> None:
        with contextlib.suppress(StoreError):  # the work itself will raise it
            self._presence.renew(self._store.db.clock())


def _unless_ahead(at: float | None, now: float) -> float | None:
    """A time ahead of the clock was stored before the clock was set back: it passed long ago."""
    return at if at is None or at <= now + _MAX_SKEW_S else 0.0


def _is_waiting(run: Run, tiers: Sequence[str]) -> bool:
    return run.state == "waiting" and run.tier in tiers
