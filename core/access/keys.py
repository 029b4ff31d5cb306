"""Keys: `eg_<id>_<secret>`. Only a digest of the whole key is stored.

The secret is random and long, so a fast digest is enough: nobody can try them all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, insert, or_, select, update

from core import audit
from core.access.roles import Role
from core.audit import SERVICE, Actor
from core.errors import InvalidRequest
from core.plain_text import MAX_WHO_CHARACTERS, check_name
from core.store.tables.access import api_keys

_ID_BYTES = 6
_SECRET_BYTES = 24
_FORM = re.compile(rf"eg_([0-9a-f]{{{2 * _ID_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")
FILE_NAME = "admin-key-file"
# A row is written at most this often, because a busy key is used thousands of times a second.
USED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    digest: str
    name: str
    role: Role
    # As `core/access/quotas.py` reads them.
    request_quota: str | None = None
    byte_quota: str | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None

    def is_usable(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


# What a key that nobody has is compared with: finding out that there is none takes as long.
NOBODY = Key("", "0" * 64, "", Role.PREDICT, revoked_at=0.0)


def new_key() -> str:
    return f"eg_{secrets.token_hex(_ID_BYTES)}_{secrets.token_hex(_SECRET_BYTES)}"


def id_of(key: str) -> str | None:
    """None if it cannot be a key."""
    match = _FORM.fullmatch(key)
    return match[1] if match else None


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_same(stored: Key, key: str) -> bool:
    """Takes the same time wherever the two differ."""
    return hmac.compare_digest(stored.digest, digest_of(key))


def add(
    conn: Connection,
    name: str,
    role: Role,
    *,
    now: float,
    expires_at: float | None = None,
    request_quota: str | None = None,
    byte_quota: str | None = None,
    by: Actor = SERVICE,
) -> tuple[Key, str]:
    """Returns the row and the key itself, which is nowhere else. Raises InvalidRequest."""
    check_name("the name of a key", name, MAX_WHO_CHARACTERS)
    if name == FILE_NAME or any(each.is_usable(now) for each in named(conn, name)):
        raise InvalidRequest(
            f"there is a key {name!r} already; choose another name, or revoke that key first"
        )
    secret = new_key()
    row = Key(
        id_of(secret) or "",
        digest_of(secret),
        name,
        role,
        request_quota,
        byte_quota,
        now,
        expires_at,
    )
    conn.execute(
        insert(api_keys).values(
            id=row.id,
            digest=row.digest,
            name=name,
            role=role.word,
            request_quota=request_quota,
            byte_quota=byte_quota,
            created_at=now,
            expires_at=expires_at,
        )
    )
    detail = {"name": name, "role": role.word, "expires_at": expires_at}
    audit.record(conn, by, "key.made", f"key {row.id}", now, **detail)
    return row, secret


def revoke(conn: Connection, name_or_id: str, now: float, by: Actor = SERVICE) -> list[Key]:
    """Returns the keys that were in force until now. Raises InvalidRequest."""
    wanted = or_(api_keys.c.id == name_or_id, api_keys.c.name == name_or_id)
    found = [row for row in _read(conn, wanted) if row.revoked_at is None]
    if not found:
        raise InvalidRequest(
            f"there is no key {name_or_id[:100]!r} to revoke; see `evergreen key list`"
        )
    conn.execute(
        update(api_keys).where(wanted, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    for row in found:
        audit.record(conn, by, "key.revoked", f"key {row.id}", now, name=row.name)
    return found


def listing(conn: Connection) -> list[Key]:
    """All that were ever made, oldest first."""
    return _read(conn, True)


def named(conn: Connection, name: str) -> list[Key]:
    return _read(conn, api_keys.c.name == name)


def not_revoked(conn: Connection) -> list[Key]:
    return _read(conn, api_keys.c.revoked_at.is_(None))


def marker(conn: Connection) -> tuple[int, int]:
    """How many keys were made, and how many revoked: it changes with each, as no row is deleted."""
    counts = select(func.count(), func.count(api_keys.c.revoked_at)).select_from(api_keys)
    made, revoked = conn.execute(counts).one()
    return int(made), int(revoked)


def note_use(conn: Connection, identity: str, now: float) -> None:
    used = api_keys.c.last_used_at
    conn.execute(
        update(api_keys)
        .where(api_keys.c.id == identity, or_(used.is_(None), used < now - USED_EVERY_S))
        .values(last_used_at=now)
    )


def read_file(path: Path) -> Key:
    """The admin's key in a file. Raises InvalidRequest, which quotes nothing of the file."""
    remedy = (
        'make one with: echo "eg_$(openssl rand -hex 6)_$(openssl rand -hex 24)" > '
        f"{path.name}, or let `evergreen key add` print one"
    )
    try:
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidRequest(
            f"EVERGREEN_ADMIN_KEY_FILE names {path}, which cannot be read ({reason}); {remedy}"
        ) from error
    identity = id_of(content)
    if identity is None:
        raise InvalidRequest(
            f"EVERGREEN_ADMIN_KEY_FILE names {path}, which does not hold a key "
            f"(eg_, {2 * _ID_BYTES} hexadecimal digits, _, and {2 * _SECRET_BYTES} more); {remedy}"
        )
    return Key(identity, digest_of(content), FILE_NAME, Role.ADMIN)


def _read(conn: Connection, condition: object) -> list[Key]:
    rows = conn.execute(
        select(api_keys)
        .where(condition)  # type: ignore[arg-type]
        .order_by(api_keys.c.created_at, api_keys.c.id)
    )
    return [
        Key(
            row.id,
            row.digest,
            row.name,
            Role[row.role.upper()],
            row.request_quota,
            row.byte_quota,
            row.created_at,
            row.expires_at,
            row.last_used_at,
            row.revoked_at,
        )
        for row in rows
    ]
