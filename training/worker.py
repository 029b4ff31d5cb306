"""The trainer: one process that embeds new examples, asks for runs when they are due, and does
them one at a time. Everything it knows is in the database; killing it loses nothing."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from threadpoolctl import threadpool_limits

from core import champion, labels, runs, training_data, versions, workers
from core.bootstrap import ensure_first_version
from core.errors import EvergreenError, StoreError
from core.pixels import Limits
from core.predictions import new_id
from core.runs import Run
from core.servable import Runtime
from core.settings import Settings
from core.store import Store, open_store
from core.workers import Worker
from training import triggers
from training.embed import embed
from training.progress import Handed, Progress, Stopped
from training.recipe import Recipe, load_recipe
from training.run import Workshop, execute
from training.triggers import News

_TICK_S = 0.1
_CHUNK = 64

log = logging.getLogger(__name__)


class Trainer:
    def __init__(self, store: Store, recipe: Recipe, settings: Settings) -> None:
        self._store = store
        self._recipe = recipe
        self._id = new_id()
        self._started_at = time.time()
        self._shop = Workshop(
            store,
            Runtime(settings.provider, settings.threads),
            recipe,
            Limits(settings.max_pixels),
            self._id,
        )
        self._stop = threading.Event()
        self._reported_at = 0.0
        self._embedded_up_to = -1

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
                self._stop.wait(_TICK_S)
        with self._store.db.write(durable=False) as conn:
            workers.leave(conn, self._id)
        self._store.db.close()

    def tick(self, now: float) -> bool:
        """Look once, and do at most one thing. True if there was something to do."""
        self._report(now)
        self._request_if_due(now)
        with self._store.db.read() as conn:
            has_waiting = any(run.state == "waiting" for run in runs.unfinished(conn))
            promotion = champion.waiting(conn)
        if promotion is not None:
            with self._store.db.write() as conn:
                champion.advance(conn, now)
        if has_waiting:
            with self._store.db.write() as conn:
                run = runs.claim(conn, self._id, now)
            if run is not None:
                self._do(run)
                return True
        return self._embed_ahead()

    def _do(self, run: Run) -> None:
        log.info("run.started", extra={"run_id": run.id, "trigger": run.trigger})
        started = time.perf_counter()
        progress = Progress(self._store, run, self._id, self._stop.is_set, self._report)
        state = "finished"
        fields: dict[str, Any] = {}
        try:
            # One core: predictions need the others, and a linear algebra library that waits for
            # cores that are taken is ten times slower than one that does not ask for them.
            with threadpool_limits(1):
                outcome = execute(self._shop, run, progress)
            fields = {
                "outcome": outcome.outcome,
                "version": outcome.version,
                "reason": outcome.reason,
            }
        except Handed:
            with self._store.db.write() as conn:
                runs.hand_back(conn, run.id, self._id, time.time())
            log.info("run.handed_back", extra={"run_id": run.id})
            return
        except Stopped:
            state, fields = "cancelled", {"reason": "cancelled on request"}
        except StoreError:
            raise  # the lease runs out, and the run is tried again
        except EvergreenError as error:
            state, fields = "failed", {"error": str(error)}
        except Exception as error:
            # A run may fail in any way; the trainer lives on for the next.
            log.exception("run.crashed", extra={"run_id": run.id})
            state, fields = "failed", {"error": f"{type(error).__name__}: {error}"}
        with self._store.db.write() as conn:
            runs.finish(conn, run.id, self._id, state=state, now=time.time(), **fields)
        duration_s = round(time.perf_counter() - started, 3)
        log.info(f"run.{state}", extra={"run_id": run.id, "duration_s": duration_s, **fields})

    def _request_if_due(self, now: float) -> None:
        with self._store.db.read() as conn:
            num_new, oldest, newest = labels.count_after(conn, runs.newest_snapshot(conn))
            if num_new == 0 or any(r.state == "waiting" for r in runs.unfinished(conn)):
                return
            last = runs.last_of(conn)
            news = News(
                num_new,
                oldest,
                newest,
                last.finished_at if last else None,
                last is not None and last.state == "failed",
            )
            trigger = triggers.due(news, now, self._recipe.triggers)
            if trigger is None or not training_data.census(labels.current(conn)).is_enough:
                return
        with self._store.db.write() as conn:
            runs.request(conn, trigger=trigger, now=now)

    def _embed_ahead(self) -> bool:
        """Embed what was labelled since, so that a run finds it done. True if there was some."""
        with self._store.db.read() as conn:
            newest = labels.newest_id(conn)
            if newest == self._embedded_up_to:
                return False
            rows = labels.labelled_after(conn, self._embedded_up_to, _CHUNK)
            live = champion.newest_activation(conn)
            version = versions.get(conn, live.version) if live else None
        if version is None:
            return False
        manifest = versions.read_manifest(version, self._store.blobs)
        backbone = self._shop.runtime.backbone(version.backbone, self._store.blobs)
        embed(
            self._store,
            backbone,
            manifest.pixels,
            [row for _, row in rows],
            self._shop.limits,
        )
        self._embedded_up_to = rows[-1][0] if len(rows) == _CHUNK else newest
        return True

    def _report(self, now: float) -> None:
        if now - self._reported_at < workers.HEARTBEAT_S:
            return
        self._reported_at = now
        worker = Worker(
            id=self._id,
            role="trainer",
            host=workers.this_host(),
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
