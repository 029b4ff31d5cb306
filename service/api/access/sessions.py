"""Sign-ins of the page: a cookie stands for a key, for some hours, and ends with the key.

The cookie names the key and is signed. It does not hold the key, and no script can read it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from core.access.keys import Key
from core.errors import InvalidRequest, StoreError
from core.settings import Settings
from core.system.files import make_private_folder, write_whole

COOKIE = "evergreen_session"
LASTS_S = 12 * 3600
_MIN_SECRET_BYTES = 16


class Sessions:
    def __init__(self, settings: Settings) -> None:
        """Reads nothing before the first sign-in."""
        self._settings = settings
        self._signing: URLSafeTimedSerializer | None = None

    def begin(self, key: Key, response: Response, scope: Scope) -> None:
        """Raises InvalidRequest, StoreError."""
        response.set_cookie(
            COOKIE,
            self._signer().dumps(_of(key)),
            max_age=LASTS_S,
            httponly=True,
            samesite="strict",
            secure=_is_https(scope),
        )

    def end(self, response: Response) -> None:
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    def key_id(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The id of the key that a cookie in force stands for. `is_of` checks the key itself."""
        signed = self._read(headers)
        return None if signed is None else signed[0]

    def is_of(self, headers: Mapping[bytes, bytes], key: Key) -> bool:
        """Whether it is this key, and not another one that has its id, from another file."""
        return self._read(headers) == _of(key)

    def _read(self, headers: Mapping[bytes, bytes]) -> list[str] | None:
        cookie = cookie_parser(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
        if cookie is None:
            return None
        with suppress(BadSignature):
            signed: list[str] = self._signer().loads(cookie, max_age=LASTS_S)
            return signed
        return None

    def _signer(self) -> URLSafeTimedSerializer:
        if self._signing is None:
            self._signing = URLSafeTimedSerializer(
                _secret(self._settings),
                salt="evergreen.session",
                signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
            )
        return self._signing


def _of(key: Key) -> list[str]:
    return [key.id, key.digest[:16]]


def _is_https(scope: Scope) -> bool:
    """A proxy that ended TLS says so. A client that says it falsely limits its own cookie only."""
    told = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    return scope.get("scheme") == "https" or told.strip().lower() == b"https"


def _secret(settings: Settings) -> bytes:
    """It is not in the database, so whoever reads that cannot sign. Raises InvalidRequest,
    StoreError."""
    path = settings.session_secret_file
    try:
        secret = _made_secret(settings.home) if path is None else path.read_bytes().strip()
    except OSError as error:
        raise StoreError(f"the secret of sessions cannot be used: {error}") from error
    if len(secret) < _MIN_SECRET_BYTES:
        raise InvalidRequest(
            f"EVERGREEN_SESSION_SECRET_FILE names {path}, which holds {len(secret)} bytes; "
            f"{_MIN_SECRET_BYTES} are needed: openssl rand -hex 32 > {path}"
        )
    return secret


def _made_secret(home: Path) -> bytes:
    """Of all processes with this home. The first that needs it makes it."""
    path = home / "session.secret"
    if not path.exists():
        make_private_folder(home)
        unfinished = home / f"{path.name}-{secrets.token_hex(4)}"
        write_whole(unfinished, secrets.token_bytes(32), durable=True)
        try:
            with suppress(FileExistsError):
                os.link(unfinished, path)
        finally:
            unfinished.unlink()
    return path.read_bytes()
