"""Old versions: they are retired. Their rows stay, their files and embeddings go.

A version that anything may need again is kept: see `protected`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, func, select, update

from core import audit, erased
from core.audit import TRAINER, Actor
from core.errors import BlobMissing
from core.registry import activations, promotions, workers
from core.registry import versions as registry
from core.registry.versions import Version
from core.retention import doomed
from core.retention.images import DAY_S
from core.retention.policy import RetentionPolicy
from core.store.schema import embeddings, examples, versions
from core.store.store import Store
from core.store.tables.tallies import shadow_tallies

#: The newest versions are kept, whatever their age: the gate's next decisions depend on them.
MIN_VERSIONS = 20
BATCH = 20
# Examples whose embeddings are swept in one statement.
_EXAMPLES = 500
_FILES = ("backbone", "head", "references", "tuned_from", "quantised_from")


def protected(conn: Connection, named: Collection[int], now: float) -> set[int]:
    """The versions that are kept whatever their age: the first one, the champion and those before
    it, the newest, the one that is being promoted, shadows, and what a worker has loaded."""
    numbers = {1, *activations.recent_champions(conn), *named}
    before, pending = activations.version_before(conn), promotions.pending(conn)
    numbers |= {before} if before else set()
    numbers |= {pending.version} if pending else set()
    for worker in workers.live(conn, now, "serving"):
        numbers |= {*worker.ready, *([worker.version] if worker.version else [])}
    newest = select(versions.c.number).order_by(versions.c.number.desc()).limit(MIN_VERSIONS)
    return numbers | set(conn.scalars(newest))


def to_retire(
    conn: Connection, policy: RetentionPolicy, named: Collection[int], now: float
) -> list[int]:
    """The kept versions that are too old or too many, without the protected ones, and those that
    saw what was erased. Oldest first."""
    too_old = now - policy.version_days * DAY_S if policy.version_days else 0.0
    kept = (
        select(versions.c.number, versions.c.created_at)
        .where(versions.c.retired_at.is_(None))
        .order_by(versions.c.number)
    )
    rows = conn.execute(kept).all()
    num_over = max(0, len(rows) - policy.max_versions) if policy.max_versions else 0
    old = {row.number for i, row in enumerate(rows) if i < num_over or row.created_at <= too_old}
    keep = protected(conn, named, now) if old else set()
    saw = _saw_erased(conn, policy, named)
    return [row.number for row in rows if row.number in saw or row.number in old - keep]


def _saw_erased(conn: Connection, policy: RetentionPolicy, named: Collection[int]) -> set[int]:
    """The versions to retire because they saw an example that was erased since. The champion stays,
    and what is being promoted or named by a setting."""
    saw = set() if policy.erased_versions == "never" else erased.versions(conn)
    live, pending = promotions.newest_activation(conn), promotions.pending(conn)
    if saw and live is not None and live.version in saw and policy.erased_versions != "at-once":
        return set()
    return saw - {*named, *(each.version for each in (live, pending) if each is not None)}


@dataclass(slots=True)
class Files:
    """The files of versions, as their manifests name them. A manifest is read once."""

    store: Store
    _by_manifest: dict[str, frozenset[str]] = field(default_factory=dict)

    def of(self, version: Version) -> frozenset[str]:
        """The digests of all its files. Raises StoreError."""
        known = self._by_manifest.get(version.manifest)
        if known is None:
            known = self._by_manifest[version.manifest] = self._read(version)
        return known

    def _read(self, version: Version) -> frozenset[str]:
        named = {version.manifest, version.backbone, version.head}
        try:
            fields = json.loads(self.store.blobs.get(version.manifest))
        except (BlobMissing, ValueError):
            return frozenset(named)  # it cannot be loaded, so nothing else of it is of use
        return frozenset({*named, *(fields[name] for name in _FILES if fields.get(name))})

    def load(self) -> list[Version]:
        """Read the manifests of all kept versions, outside of any lock, and return the versions.

        Raises StoreError.
        """
        with self.store.db.read() as conn:
            kept = registry.kept(conn)
        self._by_manifest = {version.manifest: self.of(version) for version in kept}
        return kept

    def needed(self, conn: Connection) -> set[str] | None:
        """The files of all kept versions. None: `load` has not seen all of them."""
        query = select(versions.c.manifest).where(versions.c.retired_at.is_(None))
        sets = [self._by_manifest.get(digest) for digest in conn.scalars(query)]
        if any(known is None for known in sets):
            return None
        return set().union(*(known for known in sets if known is not None))


def retire(
    store: Store,
    files: Files,
    policy: RetentionPolicy,
    named: Collection[int],
    now: float,
    by: Actor = TRAINER,
) -> int:
    """Retire some versions, and doom their files. Returns how many."""
    kept = files.load()
    with store.db.read() as conn:
        candidates = to_retire(conn, policy, named, now)[:BATCH]
    found = [version for version in kept if version.number in candidates]
    others = [version for version in kept if version.number not in candidates]
    needed = set().union(*(files.of(version) for version in others))
    digests = {version.number: files.of(version) - needed for version in found}
    sizes = {digest: _size(store, digest) for digest in set().union(*digests.values())}
    if not found:
        return 0
    with store.db.write() as conn:
        promotions.lock(conn)  # a promotion of one of them is requested before, or refused after
        still = digests.keys() & set(to_retire(conn, policy, named, now))
        conn.execute(update(versions).where(versions.c.number.in_(still)).values(retired_at=now))
        conn.execute(delete(shadow_tallies).where(shadow_tallies.c.version.in_(still)))
        gone = set().union(*(digests[number] for number in still))
        doomed.doom(conn, doomed.FILE, {digest: sizes[digest] for digest in gone})
        for number in sorted(still):
            audit.record(conn, by, "version.retired", f"version {number}", now)
    return len(still)


def _size(store: Store, digest: str) -> int:
    try:
        return store.blobs.size(digest)
    except BlobMissing:
        return 0


def backbones(conn: Connection) -> set[str]:
    """The backbones of the kept versions."""
    query = select(versions.c.backbone).where(versions.c.retired_at.is_(None)).distinct()
    return set(conn.scalars(query))


def delete_embeddings(store: Store, after: int) -> tuple[int, int | None]:
    """Delete the embeddings of other backbones than those of kept versions, of the next examples.

    Returns how many, and the last example; None: there are no more. Embeddings may be deleted at
    any time: those that a run needs are computed again.
    """
    with store.db.read() as conn:
        used = backbones(conn)
        ids = select(examples.c.id).where(examples.c.id > after).order_by(examples.c.id)
        ids_of_step = list(conn.scalars(ids.limit(_EXAMPLES)))
        if not ids_of_step:
            return 0, None
        unused = embeddings.c.example_id.between(
            ids_of_step[0], ids_of_step[-1]
        ) & embeddings.c.backbone.not_in(used)
        number = conn.execute(select(func.count()).where(unused)).scalar_one()
    if number:
        with store.db.write(durable=False) as conn:
            conn.execute(delete(embeddings).where(unused))
    return int(number), ids_of_step[-1] if len(ids_of_step) == _EXAMPLES else None


def count_embeddings(conn: Connection) -> tuple[int, int]:
    """How many embeddings of other backbones there are, and their bytes."""
    size = func.coalesce(func.sum(func.length(embeddings.c.vector)), 0)
    unused = embeddings.c.backbone.not_in(backbones(conn))
    row = conn.execute(select(func.count(), size).where(unused)).one()
    return int(row[0]), int(row[1])
