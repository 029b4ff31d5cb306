"""Erase with what this machine holds of an image: `core/erasure/erase.py`, and the spool."""

from __future__ import annotations

from core.audit import Actor
from core.erased import Erasure
from core.erasure.erase import Eraser
from core.errors import NotReady
from core.retention.policy import RetentionPolicy
from core.settings import Settings
from core.store.store import Store
from service.inference.spool import Spool


def eraser(settings: Settings, store: Store, spool: Spool, retention: RetentionPolicy) -> Eraser:
    cache, named = settings.home / "cache", settings.shadow_versions
    return Eraser(store, retention, cache, spool.remove_image, named)


def erase_prediction(
    eraser: Eraser, spool: Spool, prediction_id: str, who: str, by: Actor
) -> Erasure:
    """Raises NotReady if it is still spooled, and what `Eraser.erase_prediction` raises."""
    if spool.holds(prediction_id):
        raise NotReady(
            f"prediction {prediction_id} waits on the local disk to be stored; erase it when the "
            "store is back"
        )
    return eraser.erase_prediction(prediction_id, who, by)
