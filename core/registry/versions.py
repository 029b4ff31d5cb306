"""The registry of versions: rows that name the blobs of a bundle. Only `retired_at` changes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from core import audit
from core.audit import TRAINER, Actor
from core.errors import SpecMismatch, UnknownVersion, VersionRetired, VersionTaken
from core.models import manifest_signature
from core.models.manifest import Manifest
from core.store.schema import versions
from core.store.store import Store

_MAX_NUMBER = 2**31 - 1
# Built once: building a statement takes longer than running it.
_BY_NUMBER = select(versions).where(versions.c.number == bindparam("number"))
_REF = select(versions.c.number, versions.c.backbone)
_REFS = _REF.where(
    versions.c.number.in_(bindparam("numbers", expanding=True)), versions.c.retired_at.is_(None)
)
_LAST = (
    _REF.add_columns(versions.c.gate, versions.c.created_at)
    .order_by(versions.c.number.desc())
    .limit(bindparam("limit"))
    .subquery("last")
)
_LAST_SINCE = (
    select(_LAST.c.number, _LAST.c.backbone, _LAST.c.gate)
    .where(_LAST.c.created_at > bindparam("moment"))
    .order_by(_LAST.c.number.desc())
)


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A version and its backbone: versions with one backbone can shadow each other."""

    number: int
    backbone: str


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    run_id: str | None
    parent: int | None
    backbone: str
    head: str
    manifest: str
    classes: tuple[str, ...]
    snapshot: int
    metrics: dict[str, Any]
    gate: dict[str, Any]
    created_at: float
    # From then on its files may be gone, and it cannot be promoted.
    retired_at: float | None = None

    @property
    def passed_gate(self) -> bool:
        return _passed(self.gate)


def publish(
    conn: Connection,
    store: Store,
    manifest: Manifest,
    gate: dict[str, Any],
    by: Actor = TRAINER,
) -> Manifest:
    """Add the version under the next number. The blobs of its files must be stored already.

    Returns the manifest with its number. Raises VersionTaken if another process was faster.
    """
    numbered = under_next_number(conn, manifest)
    add(conn, numbered, put_manifest(numbered, store), gate, by)
    return numbered


def put_manifest(manifest: Manifest, store: Store) -> str:
    """Sign the manifest, if there is a key, and store it. Returns its digest."""
    return store.blobs.put(manifest_signature.signed(manifest, store.signer).to_bytes())


def under_next_number(conn: Connection, manifest: Manifest) -> Manifest:
    return replace(manifest, version=(newest_number(conn) or 0) + 1)


def add(
    conn: Connection,
    manifest: Manifest,
    digest: str,
    gate: dict[str, Any],
    by: Actor = TRAINER,
    now: float | None = None,
) -> None:
    """Add a version whose manifest is stored too. If it is to be promoted in this transaction, the
    caller holds `promotions.lock`, which comes before that of the audit.

    Raises VersionTaken if another version has its number, or is of its run.
    """
    row = {
        "number": manifest.version,
        "run_id": manifest.run_id,
        "parent": manifest.parent,
        "backbone": manifest.backbone,
        "head": manifest.head,
        "manifest": digest,
        "classes": list(manifest.classes),
        "snapshot": manifest.snapshot,
        "metrics": manifest.metrics,
        "gate": gate,
        "created_at": manifest.created_at,
    }
    try:
        conn.execute(insert(versions).values(row))
    except IntegrityError as error:
        raise VersionTaken(
            f"version {manifest.version} exists already, or one of run {manifest.run_id}"
        ) from error
    subject = f"version {manifest.version}"
    detail = {"run": manifest.run_id, "passed": _passed(gate)}
    audit.record(conn, by, "version.published", subject, now or manifest.created_at, **detail)


def newest_number(conn: Connection) -> int | None:
    number: int | None = conn.execute(select(func.max(versions.c.number))).scalar_one()
    return number


def get(conn: Connection, number: int) -> Version:
    """Raises UnknownVersion."""
    row = None
    if 0 < number <= _MAX_NUMBER:  # PostgreSQL refuses to compare with more
        row = conn.execute(_BY_NUMBER, {"number": number}).one_or_none()
    if row is None:
        newest = newest_number(conn)
        known = f"there are 1 to {newest}" if newest else "none is published yet"
        raise UnknownVersion(f"version {number} does not exist; {known}")
    return _from_row(row)


def get_kept(conn: Connection, number: int) -> Version:
    """Raises UnknownVersion, VersionRetired."""
    version = get(conn, number)
    check_kept(version)
    return version


def by_run(conn: Connection, run_id: str) -> Version | None:
    row = conn.execute(select(versions).where(versions.c.run_id == run_id)).one_or_none()
    return None if row is None else _from_row(row)


def first_of_backbone(conn: Connection, backbone: str) -> Version | None:
    """The oldest version with this backbone, by the sha256 of its backbone.onnx, that is kept."""
    is_kept = versions.c.retired_at.is_(None)
    query = select(versions).where(versions.c.backbone == backbone, is_kept)
    row = conn.execute(query.order_by(versions.c.number).limit(1)).one_or_none()
    return None if row is None else _from_row(row)


def get_refs(conn: Connection, numbers: Collection[int]) -> dict[int, VersionRef]:
    """The versions of these numbers, without those that do not exist or are retired."""
    valid = [number for number in numbers if 0 < number <= _MAX_NUMBER]
    return {row.number: VersionRef(*row) for row in conn.execute(_REFS, {"numbers": valid})}


def held_back_since(conn: Connection, moment: float, limit: int) -> list[VersionRef]:
    """Of the last `limit` versions, those created since then that did not pass the gate. Newest
    first."""
    last = conn.execute(_LAST_SINCE, {"limit": limit, "moment": moment})
    return [VersionRef(row.number, row.backbone) for row in last if not _passed(row.gate)]


def listing(conn: Connection, *, limit: int, before: int | None = None) -> list[Version]:
    """Newest first; with `before`, only lower numbers."""
    query = select(versions).order_by(versions.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(versions.c.number < min(max(before, 0), _MAX_NUMBER))
    return [_from_row(row) for row in conn.execute(query)]


def kept(conn: Connection) -> list[Version]:
    """The versions that are not retired."""
    rows = conn.execute(select(versions).where(versions.c.retired_at.is_(None)))
    return [_from_row(row) for row in rows]


def read_manifest(version: Version, store: Store) -> Manifest:
    """Raises VersionRetired, ChecksumMismatch, StoreError; SignatureMismatch if there is a key that
    did not sign it; SpecMismatch if it cannot be read, or differs from what the version was
    published with."""
    check_kept(version)
    content = store.blobs.get(version.manifest, keep=True)
    manifest_signature.check(content, store.signer, version.number)
    manifest = Manifest.from_bytes(content)
    published = {"classes": version.classes, "backbone": version.backbone, "head": version.head}
    # A signed manifest must not serve under the number of another version.
    for name, value in (published | {"version": version.number}).items():
        if getattr(manifest, name) != value:
            raise SpecMismatch(
                f"the manifest of version {version.number} has other {name} than the version was "
                "published with; restore it from a backup"
            )
    return manifest


def check_kept(version: Version) -> None:
    """Raises VersionRetired."""
    if version.retired_at is not None:
        raise VersionRetired(
            f"version {version.number} is retired, and its files are deleted; /v1/versions lists "
            "those that are kept, and the recipe says for how long ([retention])"
        )


def _passed(gate: dict[str, Any]) -> bool:
    return bool(gate.get("promote"))


def _from_row(row: Any) -> Version:
    fields = dict(row._mapping)
    fields["classes"] = tuple(fields["classes"])
    return Version(**fields)
