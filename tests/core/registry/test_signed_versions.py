"""With a key, only versions that it signed are read, whoever wrote the others."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.errors import ArtifactError, PromotionFailed, SignatureMismatch, SpecMismatch
from core.models.pretrained import starter
from core.registry import version_files, versions
from core.registry.bootstrap import ensure_first_version
from core.registry.versions import Version
from core.store import schema
from core.store.signer import Signer
from core.store.store import Store
from tests.support import tiny

OWN = Signer(b"k" * 32)


@pytest.fixture
def signing(sqlite_store: Store) -> Store:
    """The store, opened with the key. Version 1 is signed."""
    store = replace(sqlite_store, signer=OWN)
    tiny.publish(store)
    return store


def get(store: Store, number: int = 1) -> Version:
    with store.db.read() as conn:
        return versions.get(conn, number)


def put_there(store: Store, number: int, **columns: Any) -> None:
    """Change a row, as somebody can who reaches the database."""
    with store.db.write() as conn:
        rows = schema.versions
        conn.execute(update(rows).where(rows.c.number == number).values(**columns))


def change(store: Store, change_fields: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of version 1, as somebody can who reaches database and blob store."""
    fields = json.loads(store.blobs.get(get(store).manifest))
    change_fields(fields)
    put_there(store, 1, manifest=store.blobs.put(json.dumps(fields).encode()))


def test_version_that_is_published_with_the_key_is_read_with_it(signing: Store) -> None:
    manifest = versions.read_manifest(get(signing), signing)
    assert len(manifest.signature) == 64
    assert versions.read_manifest(get(signing), replace(signing, signer=None)) == manifest


def test_manifest_of_a_process_without_a_key_is_as_before(sqlite_store: Store) -> None:
    number = tiny.publish(sqlite_store)
    content = sqlite_store.blobs.get(get(sqlite_store, number).manifest)
    assert content == tiny.plain_manifest(version=1).to_bytes()
    assert b"signature" not in content


def test_first_version_is_signed(sqlite_store: Store) -> None:
    store = replace(sqlite_store, signer=OWN)
    ensure_first_version(store, starter.NAME)
    assert versions.read_manifest(get(store), store).signature


def test_signature_of_the_parent_is_not_taken_over(signing: Store) -> None:
    parent = versions.read_manifest(get(signing), signing)
    number = tiny.publish(signing, replace(parent, parent=1))
    assert versions.read_manifest(get(signing, number), signing).signature != parent.signature
    number = tiny.publish(replace(signing, signer=None), replace(parent, parent=1))
    assert b"signature" not in signing.blobs.get(get(signing, number).manifest)


def test_version_without_a_signature_is_refused_and_the_remedy_is_named(signing: Store) -> None:
    number = tiny.publish(replace(signing, signer=None))
    with pytest.raises(SignatureMismatch, match=r"version 2 is not signed.*versions sign"):
        versions.read_manifest(get(signing, number), signing)


def test_version_signed_with_another_key_is_refused(signing: Store) -> None:
    number = tiny.publish(replace(signing, signer=Signer(b"o" * 32)))
    with pytest.raises(SignatureMismatch, match=r"earlier key.*--old-key-file"):
        versions.read_manifest(get(signing, number), signing)


@pytest.mark.parametrize(
    "change_fields",
    [
        lambda fields: fields.update(temperature=9.0),
        lambda fields: fields.update(references="c" * 64),
        lambda fields: fields.update(optimised=None),  # which from_bytes drops
        lambda fields: fields["golden"].update(seed=1),
        lambda fields: fields.update(signature="0" * 64),
        lambda fields: fields.update(signature="é"),
        lambda fields: fields.update(signature=["0" * 64]),
        lambda fields: fields.pop("signature"),
        lambda fields: fields.pop("libraries"),
    ],
)
def test_manifest_that_was_changed_is_refused(
    signing: Store, change_fields: Callable[[dict[str, Any]], Any]
) -> None:
    change(signing, change_fields)
    with pytest.raises(SignatureMismatch):
        versions.read_manifest(get(signing), signing)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"signature":' + b"[" * 100_000])
def test_file_that_is_no_manifest_is_refused(signing: Store, content: bytes) -> None:
    put_there(signing, 1, manifest=signing.blobs.put(content))
    with pytest.raises(SpecMismatch):
        versions.read_manifest(get(signing), signing)


def test_signed_manifest_serves_under_no_other_number(signing: Store) -> None:
    number = tiny.publish(replace(signing, signer=None))
    put_there(signing, number, manifest=get(signing, 1).manifest)
    with pytest.raises(SpecMismatch, match="other version"):
        versions.read_manifest(get(signing, number), signing)


@pytest.mark.parametrize("name", ["backbone", "head"])
def test_row_that_names_another_file_is_refused(signing: Store, name: str) -> None:
    put_there(signing, 1, **{name: "c" * 64})
    with pytest.raises(SpecMismatch, match=name):
        versions.read_manifest(get(signing), signing)


def test_forged_version_is_not_promoted(signing: Store) -> None:
    forged = replace(signing, signer=None)
    number = tiny.publish(forged, tiny.make_manifest(signing.blobs))
    with pytest.raises(PromotionFailed, match="is not signed"):
        version_files.check_loadable(number, signing)
    version_files.check_loadable(number, forged)


def test_reordered_and_respelled_manifest_is_the_same_and_is_read(signing: Store) -> None:
    """What counts is what a manifest says: a later release may write it in another form."""
    change(signing, lambda fields: None)
    assert versions.read_manifest(get(signing), signing).signature


READERS = {
    "core/models/manifest.py",
    "core/models/manifest_signature.py",
    "core/registry/versions.py",
    "core/registry/signing.py",
    "core/retention/versions.py",  # which files it names, to keep what other versions name
    "cli/export.py",  # copies the file of a manifest that was read
}


def test_manifests_are_read_where_their_signature_is_checked() -> None:
    """Nothing else parses one, or reads the blob that the row of a version names."""
    root = Path(__file__).parents[3]
    found = set()
    for package in ("core", "service", "training", "cli"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and reads_a_manifest(node):
                    found.add(path.relative_to(root).as_posix())
    assert {"core/registry/versions.py", "core/registry/signing.py"} <= found
    assert found <= READERS


def reads_a_manifest(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    is_blob = name.endswith(("blobs.get", "blobs.file"))
    names_manifest = bool(call.args) and ast.unparse(call.args[0]).endswith(".manifest")
    return name.endswith(("Manifest.from_bytes", "read_fields")) or (is_blob and names_manifest)


def test_error_is_one_of_a_damaged_version() -> None:
    assert issubclass(SignatureMismatch, ArtifactError)
    assert SignatureMismatch.code == "signature-mismatch"
