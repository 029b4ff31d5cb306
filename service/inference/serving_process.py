"""A serving process: what it opens, and what starts and stops with it."""

from __future__ import annotations

import logging

from threadpoolctl import threadpool_limits

from core.access import keys
from core.access.key_ring import KeyRing
from core.models.backbones import Runtime
from core.models.exports import Exports
from core.models.onnx_sessions import num_usable_gpus
from core.registry.bootstrap import ensure_first_version
from core.release import release
from core.retention.capture import Capture
from core.retention.policy import load_capture_policy, load_retention_policy
from core.review.analyses import AnalysisCache
from core.review.neighbours import NeighbourIndex
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.host import available_cores
from service.inference import batcher
from service.inference.batcher import Batcher
from service.inference.excerpts import Excerpts
from service.inference.health import Health
from service.inference.importer import Importer
from service.inference.predictor import Predictor
from service.inference.recorder import Recorder
from service.inference.review_thread import ReviewThread
from service.inference.spool import open_spool
from service.inference.spool_drain import SpoolDrain
from service.inference.thumbnails import Thumbnails
from service.inference.version_scorer import VersionScorer
from service.processes import leftovers, placement
from service.processes.drain import Drain
from service.processes.wal_checkpoints import Checkpoints
from service.swap.slot import Slot
from service.swap.swap import Swap
from service.traffic.admission import Admission
from service.traffic.forwarding import Forwarder

log = logging.getLogger(__name__)


class ServingProcess:
    def __init__(self, settings: Settings, store: Store, gpu: int = 0) -> None:
        self.settings = settings
        self.store = store
        self.limits = settings.limits
        sizes = batcher.sizes(settings.max_batch)
        self.runtime = Runtime(
            settings.device,
            settings.onnx_threads,
            gpu=gpu,
            batch_sizes=sizes,
            cache=settings.home / "cache",
        )
        is_on_gpu = self.runtime.is_on_gpu
        self.is_batching = settings.batching == "on" or (settings.batching == "auto" and is_on_gpu)
        file = settings.admin_key_file
        self.key_ring = KeyRing(store.db, None if file is None else keys.read_file(file))
        self.analyses = AnalysisCache(store)
        self.neighbours = NeighbourIndex(store)
        self.review_thread = ReviewThread()
        self.exports = Exports(settings.home / "cache" / "exports", release())
        self.slot = Slot(store.db.clock, store.db.clock.error_s)
        self.spool = open_spool(settings)
        self.retention = load_retention_policy(settings.recipe)
        num_io_threads = placement.num_io_threads(settings, is_batching=self.is_batching)
        self.recorder = Recorder(
            store, self.spool, num_io_threads if placement.is_store_remote(settings) else 0
        )
        self._spool_drain = SpoolDrain(store, self.spool, self.recorder)
        self.swap = Swap(
            store, self.runtime, self.slot, settings.shadow_versions, settings.load_within_s
        )
        self.predictor = Predictor(
            store,
            self.slot,
            self.swap,
            self.limits,
            recorder=self.recorder,
            capture=Capture(
                load_capture_policy(settings.recipe), store.disk, settings.resolved_workers
            ),
            max_parallel=placement.num_compute_threads(
                settings, num_usable_gpus(settings.device) if is_on_gpu else 0, available_cores()
            ),
            num_io_threads=num_io_threads,
            batcher=Batcher(settings.max_batch) if self.is_batching else None,
        )
        self.health = Health(self.swap, self.recorder, self.spool, store.disk)
        self.version_scorer = VersionScorer(store, self.runtime)
        self.importer = Importer(store, settings)
        self.admission = Admission(settings.max_in_flight, settings.max_wait_s)
        self.thumbnails = Thumbnails(settings, store, self.predictor, self.admission)
        self.excerpts = Excerpts(store)
        self.drain = Drain(settings.drain_s, settings.stop_within_s)
        # Set when the other workers of the machine can be reached.
        self.forwarder: Forwarder | None = None
        self.started_at = store.db.clock()
        self._checkpoints = Checkpoints(store.db)

    @staticmethod
    def start(settings: Settings, gpu: int = 0) -> ServingProcess:
        """Open the store, publish version 1 if there is none, load the champion and follow it."""
        # Threads of a BLAS would wait for the cores that other predictions use.
        threadpool_limits(1, user_api="blas")
        store = open_store(settings)
        ensure_first_version(store)
        process = ServingProcess(settings, store, gpu)
        process.key_ring.renew().result()
        process._log_access()
        process.swap.start()
        process._checkpoints.start()
        process._spool_drain.start()
        process.thumbnails.start()
        process.importer.start()
        leftovers.sweep_in_background(leftovers.folders_of(settings))
        return process

    def _log_access(self) -> None:
        if self.settings.auth == "off":
            log.warning("access.open")
        elif self.settings.auth == "auto" and not self.key_ring.has_keys:
            log.info("access.local_only")

    def stop(self) -> None:
        self.importer.stop()
        self.swap.stop()
        self.thumbnails.stop()
        self.excerpts.stop()
        self.predictor.stop()
        self._checkpoints.stop()
        self._spool_drain.stop()
        self.key_ring.stop()
        self.store.db.close()
