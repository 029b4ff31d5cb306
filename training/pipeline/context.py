"""The workshop: what a run works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.inputs.pixels import Limits
from core.models.backbones import Runtime
from core.settings import Settings
from core.store.store import Store
from training.embeddings import KeptVectors
from training.gate.champions import KeptAnswers
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Workshop:
    store: Store
    runtime: Runtime
    recipe: Recipe
    limits: Limits
    owner: str
    # For what can be made again: activations, checkpoints.
    cache: Path
    # What runs before this one have loaded: champions to judge by, by version, and embeddings.
    champions: dict[int, KeptAnswers] = field(default_factory=dict)
    vectors: KeptVectors = field(default_factory=KeptVectors)


def open_workshop(store: Store, recipe: Recipe, settings: Settings, owner: str) -> Workshop:
    return Workshop(
        store,
        Runtime(settings.provider, settings.threads, cache=settings.home / "cache"),
        recipe,
        Limits(settings.max_pixels),
        owner,
        settings.home / "cache",
    )
