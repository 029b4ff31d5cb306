"""The key file, and what its key signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidRequest
from core.settings import Settings
from core.store.signer import Signer
from core.store.store import open_store

KEY = bytes(range(32))
FIELDS: dict[str, Any] = {
    "version": 7,
    "classes": ["猫", "\ud800"],
    "metrics": {"b": 0.1, "a": None},
}


def key_file(folder: Path, key: bytes = KEY, mode: int = 0o600) -> Path:
    path = folder / "manifest.key"
    path.write_bytes(key)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440])
def test_key_of_a_private_file_signs(tmp_path: Path, mode: int) -> None:
    signer = Signer.read(key_file(tmp_path, mode=mode))
    assert signer.has_signed("manifest", FIELDS | {"signature": signer.sign("manifest", FIELDS)})


@pytest.mark.parametrize(
    ("key", "mode", "why"),
    [
        (KEY, 0o644, "mode 0644"),
        (KEY, 0o602, "mode 0602"),
        (b"", 0o600, "has 0 bytes"),
        (KEY[:-1], 0o600, "has 31 bytes; it needs 32 to 4,096"),
        (bytes(5000), 0o600, "has more than 4,096 bytes"),
    ],
)
def test_key_that_is_no_secret_is_refused(tmp_path: Path, key: bytes, mode: int, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        Signer.read(key_file(tmp_path, key, mode))


@pytest.mark.parametrize(
    ("name", "why"), [("absent", "No such file"), (".", "is not a file"), ("", "is not a file")]
)
def test_key_file_that_is_none_is_refused_and_the_message_says_how_to_make_one(
    tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"{why}.*openssl rand -out"):
        Signer.read(tmp_path / name)


def test_bad_key_file_is_reported_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="absent"):
        open_store(Settings(home=tmp_path / "home", manifest_key_file=tmp_path / "absent"))
    assert not (tmp_path / "home").exists()


def test_key_is_read_with_the_store_and_shown_nowhere(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", manifest_key_file=key_file(tmp_path))
    store = open_store(settings)
    store.db.close()
    assert store.signer is not None
    assert all(
        text not in repr(store) + str(vars(settings)) for text in (repr(KEY)[2:9], KEY.hex())
    )


def test_signature_is_of_the_fields_and_not_of_their_order() -> None:
    signer = Signer(KEY)
    signature = signer.sign("manifest", FIELDS)
    assert signer.sign("manifest", dict(reversed(FIELDS.items())) | {"signature": "x"}) == signature
    others = [
        signer.sign("backbone", FIELDS),
        signer.sign("manifest", FIELDS | {"version": 8}),
        signer.sign("manifest", FIELDS | {"more": None}),
        Signer(bytes(32)).sign("manifest", FIELDS),
    ]
    assert len({signature, *others}) == 5


@pytest.mark.parametrize("signature", [None, 7, "", "é", "\ud800", [], "0" * 64, "x" * 10_000])
def test_signature_of_any_other_kind_does_not_fit(signature: object) -> None:
    assert not Signer(KEY).has_signed("manifest", FIELDS | {"signature": signature})
    assert not Signer(KEY).has_signed("manifest", FIELDS)
