"""Rollback: which version it returns to. One whose files are lost is skipped."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from core.errors import NotReady, PromotionFailed, VersionRetired
from core.registry import activations, promotions, version_files, versions
from core.registry.promotions import Activation
from core.store.store import Store

# Far more than anybody goes back.
_MAX_VERSIONS = 50


@dataclass(frozen=True, slots=True)
class Rollback:
    live: Activation
    version: int
    # Why each version between the two is skipped.
    skipped: tuple[str, ...] = ()


def choose(store: Store) -> Rollback:
    """The newest champion before this one that can be loaded.

    Raises NotReady if there was none, PromotionFailed if none can be loaded, StoreError.
    """
    with store.db.read() as conn:
        live = promotions.newest_activation(conn)
        before = activations.versions_before(conn, _MAX_VERSIONS)
    if live is None:
        raise NotReady("no version has been champion yet; create version 1 with `evergreen init`")
    if not before:
        raise NotReady(
            f"there is nothing to go back to: version {live.version} is the first champion"
        )
    skipped: list[str] = []
    for number in before:
        try:
            version_files.check_loadable(number, store)
        except (PromotionFailed, VersionRetired) as error:
            skipped.append(str(error))
        else:
            return Rollback(live, number, tuple(skipped))
    raise PromotionFailed(
        f"none of the {len(before)} versions before can be loaded; the nearest: {skipped[0]}"
    )


def previous(conn: Connection) -> int | None:
    """The version that a rollback returns to, as far as it was recorded which files are lost."""
    before = [versions.get(conn, n) for n in activations.versions_before(conn, _MAX_VERSIONS)]
    kept = [version for version in before if version.retired_at is None]
    lost = version_files.recorded_lost(conn, kept)
    return next((version.number for version in kept if version.number not in lost), None)
