"""What a run works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.inputs.kind import Limits
from core.models.backbones import Runtime
from core.registry.promotions import MAX_WAIT_S
from core.settings import Settings
from core.store.store import Store
from training.embeddings import EmbeddingCache
from training.gate.champions import CachedPredictions
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class RunContext:
    store: Store
    runtime: Runtime
    recipe: Recipe
    limits: Limits
    owner: str
    # A folder for activations and checkpoints. It may be deleted at any time.
    cache: Path
    # In which every worker must load a version.
    load_within_s: float = MAX_WAIT_S
    # Loaded by earlier runs of this process: champions by version number, and embeddings.
    champions: dict[int, CachedPredictions] = field(default_factory=dict)
    embeddings: EmbeddingCache = field(default_factory=EmbeddingCache)


def open_context(store: Store, recipe: Recipe, settings: Settings, owner: str) -> RunContext:
    return RunContext(
        store,
        Runtime(settings.device, settings.onnx_threads, cache=settings.home / "cache"),
        recipe,
        settings.limits,
        owner,
        settings.home / "cache",
        settings.load_within_s,
    )
