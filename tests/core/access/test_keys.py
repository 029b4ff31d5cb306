from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from core.access import keys, quotas
from core.access.quotas import Quota
from core.access.roles import Role, parse_role
from core.errors import InvalidRequest
from core.store.store import Store


def test_key_is_stored_as_a_digest_only(store: Store) -> None:
    with store.db.write() as conn:
        row, key = keys.add(conn, "camera", Role.PREDICT, now=1.0)
    with store.db.read() as conn:
        assert keys.listing(conn) == [row]
    assert row.digest == hashlib.sha256(key.encode()).hexdigest()
    assert key.startswith(f"eg_{row.id}_")
    assert key.rpartition("_")[2] not in repr(row)


def test_keys_differ_and_have_a_secret_of_192_bits() -> None:
    made = {keys.new_key() for _ in range(100)}
    assert len(made) == 100
    assert {len(key.rpartition("_")[2]) * 4 for key in made} == {192}


def test_only_the_same_key_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    key = keys.new_key()
    row = keys.Key(keys.id_of(key) or "", keys.digest_of(key), "a", Role.LABEL)
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or compare(a, b))
    assert keys.is_same(row, key)
    assert not keys.is_same(row, key[:-1] + ("0" if key[-1] != "0" else "1"))
    assert not keys.is_same(keys.NOBODY, key)
    assert len(compared) == 3


@pytest.mark.parametrize("text", ["", "eg_", "eg_0_0", "EG_" + "0" * 12 + "_" + "0" * 48, "é" * 64])
def test_other_texts_are_no_keys(text: str) -> None:
    assert keys.id_of(text) is None


def test_key_works_until_it_expires_or_is_revoked(store: Store) -> None:
    with store.db.write() as conn:
        row, _ = keys.add(conn, "camera", Role.PREDICT, now=1.0, expires_at=10.0)
        assert row.is_usable(9.9)
        assert not row.is_usable(10.0)
        keys.revoke(conn, "camera", 5.0)
        (revoked,) = keys.listing(conn)
    assert not revoked.is_usable(5.0)


def test_a_name_has_one_key_in_force(store: Store) -> None:
    with store.db.write() as conn:
        first, _ = keys.add(conn, "camera", Role.PREDICT, now=1.0)
        with pytest.raises(InvalidRequest, match="already"):
            keys.add(conn, "camera", Role.LABEL, now=2.0)
        assert keys.revoke(conn, first.id, 3.0)[0].id == first.id
        keys.add(conn, "camera", Role.LABEL, now=4.0)
        with pytest.raises(InvalidRequest, match="key list"):
            keys.revoke(conn, first.id, 5.0)


@pytest.mark.parametrize(
    "name", ["", " a", "a\n", "self-healing", "Trainer", "anonymous", "x" * 101, "admin-key-file"]
)
def test_name_that_the_service_uses_or_nobody_can_read_is_refused(store: Store, name: str) -> None:
    with store.db.write() as conn, pytest.raises(InvalidRequest):
        keys.add(conn, name, Role.ADMIN, now=1.0)


def test_roles_are_a_ladder() -> None:
    assert Role.PREDICT < Role.LABEL < Role.TRAIN < Role.ADMIN
    assert parse_role("Label") is Role.LABEL
    with pytest.raises(InvalidRequest, match="predict, label, train, admin"):
        parse_role("root")


def test_quotas_and_lifetimes_are_read() -> None:
    assert quotas.parse_requests("100/minute") == Quota(100, 60)
    assert quotas.parse_bytes("1GB/day") == Quota(10**9, 86400)
    assert quotas.parse_bytes("500 kB / second") == Quota(500_000, 1)
    assert quotas.parse_lifetime("90d") == 90 * 86400


@pytest.mark.parametrize("text", ["", "100", "0/minute", "-1/day", "1GB/day", "100/year", "9" * 40])
def test_quota_of_requests_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="100/minute"):
        quotas.parse_requests(text)


@pytest.mark.parametrize("text", ["", "1GB", "0MB/day", "100/day", "1PB/day", "1.5GB/day"])
def test_quota_of_bytes_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="1GB/day"):
        quotas.parse_bytes(text)


@pytest.mark.parametrize("text", ["", "90", "0d", "d", "never", "1.5d"])
def test_lifetime_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="90d"):
        quotas.parse_lifetime(text)


def test_file_holds_the_key_of_an_admin(tmp_path: Path) -> None:
    path, key = tmp_path / "admin.key", keys.new_key()
    path.write_text(f"{key}\n")
    row = keys.read_file(path)
    assert row.role is Role.ADMIN
    assert keys.is_same(row, key)


@pytest.mark.parametrize("content", [b"", b"secret", b"eg_12_34", b"\xff\xfe"])
def test_file_without_a_key_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "admin.key"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="openssl") as raised:
        keys.read_file(path)
    assert "secret" not in str(raised.value).replace("secrets", "")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="No such file"):
        keys.read_file(tmp_path / "nothing")
