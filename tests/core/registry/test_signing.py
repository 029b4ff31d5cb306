"""Signing versions that have no signature, or one of an earlier key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.audit import Actor
from core.errors import ArtifactError, SignatureMismatch
from core.models.backbones import Runtime
from core.models.manifest import Golden
from core.registry import signing, versions
from core.registry.versions import Version
from core.store.signer import Signer
from core.store.store import Store
from tests.support import tiny

OWN, EARLIER = Signer(b"k" * 32), Signer(b"o" * 32)


def get(store: Store, number: int) -> Version:
    with store.db.read() as conn:
        return versions.get(conn, number)


def publish(store: Store, signer: Signer | None) -> Version:
    whose = replace(store, signer=signer)
    return get(store, tiny.publish(whose, tiny.make_manifest(store.blobs)))


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return replace(sqlite_store, signer=OWN)


@pytest.mark.parametrize("old", [None, EARLIER])
def test_version_is_read_once_it_is_signed(store: Store, old: Signer | None) -> None:
    version = publish(store, old)
    before = versions.read_manifest(version, replace(store, signer=None))
    signing.sign(version, store, Runtime("cpu"), Actor("me"), old)
    after = versions.read_manifest(get(store, 1), store)
    assert replace(after, signature="") == replace(before, signature="")
    fields, is_signed = signing.show_manifest(get(store, 1), store)
    assert (is_signed, fields["signature"]) == (True, after.signature)


@pytest.mark.parametrize(
    ("by", "old"), [(None, EARLIER), (Signer(b"x" * 32), EARLIER), (Signer(b"x" * 32), None)]
)
def test_version_of_somebody_else_is_not_signed(
    store: Store, by: Signer | None, old: Signer | None
) -> None:
    version = publish(store, by)
    with pytest.raises(SignatureMismatch):
        signing.sign(version, store, Runtime("cpu"), Actor("me"), old)
    assert get(store, 1) == version


@pytest.mark.parametrize("damage", ["absent", "golden"])
def test_version_that_cannot_be_loaded_is_not_signed(store: Store, damage: str) -> None:
    manifest = tiny.make_manifest(store.blobs)
    if damage == "golden":
        manifest = replace(manifest, golden=Golden(0, (9.0, -9.0)))
    else:
        store.blobs.delete(manifest.head)
    version = get(store, tiny.publish(replace(store, signer=None), manifest))
    with pytest.raises(ArtifactError):
        signing.sign(version, store, Runtime("cpu"), Actor("me"))
    assert get(store, 1) == version


def test_interrupted_signing_leaves_the_version_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish(store, None)
    with monkeypatch.context() as patched:
        patched.setattr(store.db, "write", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            signing.sign(version, store, Runtime("cpu"), Actor("me"))
    assert get(store, 1) == version
    assert not versions.read_manifest(version, replace(store, signer=None)).signature
    signing.sign(version, store, Runtime("cpu"), Actor("me"))
    versions.read_manifest(get(store, 1), store)


def test_process_that_read_the_row_before_still_finds_its_manifest(store: Store) -> None:
    version = publish(store, None)
    signing.sign(version, store, Runtime("cpu"), Actor("me"))
    assert versions.read_manifest(version, replace(store, signer=None)).version == 1


def test_manifest_is_shown_as_unsigned_without_the_key_and_under_another_number(
    store: Store,
) -> None:
    first, second = publish(store, OWN), publish(store, None)
    assert signing.show_manifest(first, store)[1]
    assert not signing.show_manifest(first, replace(store, signer=None))[1]
    assert not signing.show_manifest(second, store)[1]
    assert not signing.show_manifest(replace(second, manifest=first.manifest), store)[1]
