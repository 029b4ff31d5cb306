"""The signature of a manifest. It names the digests of all files of a version, so it covers them.

Whoever can write to the store and does not have the key can make no version that is loaded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.errors import SignatureMismatch
from core.models.manifest import Manifest, read_fields
from core.store.signer import Signer

_KIND = "manifest"


def signed(manifest: Manifest, signer: Signer | None) -> Manifest:
    """Return the manifest with a signature of its own, or without any if there is no key."""
    if signer is None:
        return replace(manifest, signature="")
    return replace(manifest, signature=signer.sign(_KIND, read_fields(manifest.to_bytes())))


def is_signed(fields: dict[str, Any], signer: Signer | None) -> bool:
    """Return whether this key signed the manifest, given as JSON has it."""
    return signer is not None and signer.has_signed(_KIND, fields)


def check(content: bytes, signer: Signer | None, number: int) -> None:
    """Raises SignatureMismatch if there is a key, and it did not sign the manifest; SpecMismatch if
    that cannot be read."""
    if signer is None:
        return
    fields = read_fields(content)
    if is_signed(fields, signer):
        return
    if fields.get("signature"):
        raise SignatureMismatch(
            f"version {number} is not signed with the key of EVERGREEN_MANIFEST_KEY_FILE. If it "
            "was signed with an earlier key, `evergreen versions sign --old-key-file FILE` signs "
            "it anew; otherwise it was changed: restore it from a backup"
        )
    raise SignatureMismatch(
        f"version {number} is not signed, and EVERGREEN_MANIFEST_KEY_FILE is set. If it was "
        "published without the key, `evergreen versions sign` signs it; otherwise somebody who "
        "does not have the key put it there"
    )
