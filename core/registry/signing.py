"""Sign versions that were published without a key, or with an earlier one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import update

from core import audit
from core.audit import Actor
from core.errors import SignatureMismatch
from core.models.backbones import Runtime
from core.models.manifest import read_fields
from core.models.manifest_signature import is_signed
from core.models.servable import load
from core.registry.versions import Version, put_manifest, read_manifest
from core.store import schema
from core.store.signer import Signer
from core.store.store import Store


def show_manifest(version: Version, store: Store) -> tuple[dict[str, Any], bool]:
    """Return the manifest as JSON has it, to be shown and not to be loaded, and whether the key of
    this process signed it for this version.

    Raises BlobMissing, ChecksumMismatch, SpecMismatch, StoreError.
    """
    fields = read_fields(store.blobs.get(version.manifest, keep=True))
    return fields, is_signed(fields, store.signer) and fields.get("version") == version.number


def sign(
    version: Version, store: Store, runtime: Runtime, by: Actor, old: Signer | None = None
) -> None:
    """Sign the version with the store's key, after checking its files and its golden output.

    With `old`, the version must be signed with that key, and without it must not be signed. If it
    is interrupted, the version keeps the signature that it had. Raises ArtifactError, StoreError.
    """
    manifest = read_manifest(version, replace(store, signer=old))
    if manifest.signature and old is None:
        raise SignatureMismatch(
            f"version {version.number} is signed with another key, or was changed; name the "
            "earlier key with --old-key-file"
        )
    load(manifest, store.blobs, runtime)
    digest = put_manifest(manifest, store)
    rows = schema.versions
    same = (rows.c.number == version.number) & (rows.c.manifest == version.manifest)
    with store.db.write() as conn:
        conn.execute(update(rows).where(same).values(manifest=digest))
        subject = f"version {version.number}"
        audit.record(conn, by, "version.signed", subject, store.db.clock(), manifest=digest)
