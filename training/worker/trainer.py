"""The trainer: one process that embeds new examples, asks for runs when they are due, does the
quick ones itself, one at a time, and has the long ones done by a child. Everything it knows is in
the database; killing it loses nothing.

What it notes of its runs is not written durably: after a power cut it is done again, whereas the
lock that a write to the disk holds is one that predictions wait for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from functools import partial

from core import leases, runs
from core.errors import StoreError
from core.ids import new_id
from core.labelling import labels
from core.labelling.census import read_census
from core.labelling.labels import CurrentLabel
from core.registry import latest, promotions, versions, workers
from core.registry.bootstrap import ensure_first_version
from core.registry.latest import Latest
from core.registry.versions import Version
from core.registry.workers import Worker
from core.runs import Run
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.background import run_idle
from core.system.host import this_host
from training.embeddings import embed
from training.pipeline.attempt import attempt
from training.pipeline.context import open_workshop
from training.recipe import Recipe, load_recipe
from training.worker import triggers
from training.worker.long_runs import LongRuns
from training.worker.planner import plan
from training.worker.planner_input import read_situation
from training.worker.self_healing import Healing
from training.worker.triggers import News

_TICK_S = 0.1
# What no row tells, like a process that died, is found so often.
_LOOK_AT_LEAST_EVERY_S = 0.5
_CHUNK = 64
# An extra: without it, heads learn and blocks do not.
_HAS_TORCH = importlib.util.find_spec("torch") is not None

log = logging.getLogger(__name__)


class Trainer:
    def __init__(self, store: Store, recipe: Recipe, settings: Settings) -> None:
        self._store = store
        self._recipe = recipe
        self._id = new_id()
        self._started_at = time.time()
        self._shop = open_workshop(store, recipe, settings, self._id)
        self._long_runs = LongRuns()
        self._healing = Healing(store) if settings.self_healing else None
        self._stop = threading.Event()
        self._reported_at = 0.0
        self._standing = Latest()
        # Until when there is nothing to do as long as nothing changes.
        self._idle_until = 0.0
        # When a trigger fires if nothing else is labelled; infinity: none does.
        self._due_at = math.inf
        with store.db.read() as conn:
            self._learnt_up_to = runs.newest_snapshot(conn)
        # What a finished run has seen is embedded.
        self._embedded_up_to = self._learnt_up_to

    @staticmethod
    def open(settings: Settings) -> Trainer:
        """Raises InvalidRecipe, StoreError."""
        recipe = load_recipe(settings.recipe)
        store = open_store(settings)
        ensure_first_version(store)
        return Trainer(store, recipe, settings)

    def stop(self) -> None:
        """Let `serve` end soon; a run that is under way is handed back."""
        self._stop.set()

    def serve(self) -> None:
        """Work until `stop`."""
        log.info("trainer.ready")
        while not self._stop.is_set():
            try:
                busy = self.tick(time.time())
            except StoreError as error:
                log.warning("trainer.store_unavailable", extra={"error": str(error)})
                self._stop.wait(1.0)
                continue
            if not busy:
                self._stop.wait(self.pause_s(time.time()))
        self.close()

    def pause_s(self, now: float) -> float:
        """Until the next look: a tick, or less where a trigger fires sooner."""
        return max(0.0, min(_TICK_S, self._due_at - now))

    def close(self) -> None:
        """End the child, if there is one, sign off, and close the store."""
        self._long_runs.stop()
        with self._store.db.write(durable=False) as conn:
            workers.leave(conn, self._id)
        self._store.db.close()

    def tick(self, now: float) -> bool:
        """Look once, and do at most one thing. True if there was something to do."""
        before = self._standing
        self._standing = latest.poll(self._store.db, before)
        if self._healing is not None:
            self._healing.look(now, self._standing)
        # Promotions and activations are the workers' work: predictions are at their slowest then.
        is_new = self._standing.work != before.work
        if not is_new and now < min(self._idle_until, self._due_at):
            return False
        is_busy = self._look(now)
        self._idle_until = 0.0 if is_busy else now + _LOOK_AT_LEAST_EVERY_S
        return is_busy

    def _look(self, now: float) -> bool:
        self._report(now)
        self._request_if_due(now)
        if self._standing.pending is not None:
            promotions.advance_committed(self._store.db)  # there may be no worker
        with self._store.db.read() as conn:
            unfinished = runs.unfinished(conn)
        if any(run.tier in runs.QUICK and leases.is_to_do(run, now) for run in unfinished):
            with self._store.db.write(durable=False) as conn:
                run = leases.claim(conn, self._id, now)
            if run is not None:
                attempt(self._shop, run, self._stop.is_set, self._report)
                self._request_blocks_if_planned(now)
                return True
        self._long_runs.look(unfinished, now)
        return self._embed_ahead()

    def _request_if_due(self, now: float) -> None:
        self._due_at = math.inf
        if self._standing.newest_label <= self._learnt_up_to:
            return
        with self._store.db.read() as conn:
            self._learnt_up_to = runs.newest_snapshot(conn)
            num_new, oldest, newest = labels.count_after(conn, self._learnt_up_to)
            if num_new == 0 or any(_waits(r, runs.QUICK) for r in runs.unfinished(conn)):
                return
            last = runs.last_of(conn, runs.QUICK)
            news = News(
                num_new,
                oldest,
                newest,
                last.finished_at if last else None,
                last is not None and last.state == "failed",
            )
            trigger = triggers.due(news, now, self._recipe.triggers)
            if trigger is None:
                moments = triggers.moments(news, self._recipe.triggers).values()
                self._due_at = min(moments, default=math.inf)
                return
            if not read_census(conn).is_enough:
                return
        with self._store.db.write(durable=False) as conn:
            runs.request(conn, trigger=trigger, now=now)

    def _request_blocks_if_planned(self, now: float) -> None:
        """After a new head: would training deeper be worth it?"""
        if not self._recipe.planner.is_automatic or not _HAS_TORCH:
            return
        found = plan(read_situation(self._store), self._recipe.planner)
        if found.tier != "blocks":
            return
        wanted = {"share": found.share, "epochs": found.epochs, "reason": found.reason}
        with self._store.db.write(durable=False) as conn:
            if not any(run.tier == "blocks" for run in runs.unfinished(conn)):
                runs.request(conn, trigger="plan", now=now, tier="blocks", wanted=wanted)

    def _embed_ahead(self) -> bool:
        """Embed what was labelled since, so that a run finds it done. True if there was some."""
        newest = self._standing.newest_label
        if newest == self._embedded_up_to:
            return False
        with self._store.db.read() as conn:
            rows = labels.labelled_after(conn, self._embedded_up_to, _CHUNK)
            live = promotions.newest_activation(conn)
            version = versions.get(conn, live.version) if live else None
        if version is None:
            return False
        work = partial(self._embed, version, [row for _, row in rows])
        run_idle(work, self._report_if_possible)
        self._embedded_up_to = rows[-1][0] if len(rows) == _CHUNK else newest
        return True

    def _embed(self, version: Version, rows: Sequence[CurrentLabel]) -> None:
        manifest = versions.read_manifest(version, self._store.blobs)
        backbone = self._shop.runtime.backbone(version.backbone, self._store.blobs)
        embed(self._store, backbone, manifest.pixels, rows, self._shop.limits)

    def _report_if_possible(self) -> None:
        with contextlib.suppress(StoreError):  # the work finds out itself
            self._report(time.time())

    def _report(self, now: float) -> None:
        if now - self._reported_at < workers.HEARTBEAT_S:
            return
        self._reported_at = now
        worker = Worker(
            id=self._id,
            role="trainer",
            host=this_host(),
            pid=os.getpid(),
            provider=self._shop.runtime.provider,
            version=None,
            ready=(),
            started_at=self._started_at,
            last_seen=now,
        )
        with self._store.db.write(durable=False) as conn:
            workers.report(conn, worker)
            workers.forget_dead(conn, now)


def _waits(run: Run, tiers: Sequence[str]) -> bool:
    return run.state == "waiting" and run.tier in tiers
