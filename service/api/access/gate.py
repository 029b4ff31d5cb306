"""The gate: every request passes it before anything else reads the request.

It stands before BentoML's routes and before the app's, so that neither has a way around it. What
workers forward to each other has passed the gate of the first, on sockets of the owner only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress

from starlette.datastructures import State
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from core.access.key_ring import KeyRing
from core.access.roles import parse_role
from core.errors import (
    AccessError,
    EvergreenError,
    KeyRequired,
    NotReady,
    RoleRequired,
)
from core.plain_text import check_who
from core.settings import Settings
from service import metrics
from service.api import problems, request_ids, unread_bodies
from service.api.access.browsers import Browsers
from service.api.access.caller import NOBODY, Caller
from service.api.access.quotas import Quotas
from service.api.access.renewal import renewed
from service.api.access.route_roles import Open, need_of
from service.api.access.sessions import Sessions

Headers = Mapping[bytes, bytes]

_METHODS = ("GET", "POST", "PUT", "DELETE")
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match")
_READ = ("ETag", "Evergreen-Worker", "Location", "Retry-After", "X-Request-Id")
# A proxy on this machine speaks for others.
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class Gate:
    """ASGI. `state` is that of the app, and gets its `serving` when the service has started."""

    def __init__(self, app: ASGIApp, state: State, settings: Settings) -> None:
        self._app = app
        self._state = state
        self._settings = settings
        self._browsers = Browsers((*settings.hosts, settings.host.lower()), settings.cors_origins)
        self._user_header = settings.trusted_user_header.encode()
        self._user_role = parse_role(settings.trusted_user_role)
        self._proxies = [ipaddress.ip_network(each) for each in settings.trusted_proxies]
        self._quotas = Quotas()
        self._first: ASGIApp = self._guard
        if settings.cors_origins:  # answers what browsers ask before they send a change
            self._first = CORSMiddleware(
                self._guard,
                allow_origins=settings.cors_origins,
                allow_methods=_METHODS,
                allow_headers=(*_SENT, "X-Request-Timeout-Ms"),
                expose_headers=_READ,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or "caller" in scope.get("state", ()):
            # The second: it has passed the gate before BentoML's routes.
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._first(scope, receive, send)
        else:  # a web socket, of which there are none
            await send({"type": "websocket.close", "code": 1008})

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = request_ids.request_id_of(headers)
        send = request_ids.answering(send, request_id)
        try:
            caller = await self._admit(scope, headers)
            if caller.key is not None and (caller.key.request_quota or caller.key.byte_quota):
                self._quotas.spend(caller.key, _length(scope) or 0)
        except EvergreenError as error:
            await self._refuse(error, scope, receive, send)
            return
        state["caller"] = caller
        state["gate"] = self
        if caller.key is not None and caller.key.byte_quota and _length(scope) is None:
            receive = self._quotas.counting(caller.key, receive)
        await self._app(scope, receive, send)

    async def _refuse(
        self, error: EvergreenError, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """The only place where the gate answers. The body has not been read."""
        if isinstance(error, AccessError):
            metrics.refused.labels(error.code).inc()
        response = problems.to_response(error, scope["path"], request_ids.of_scope(scope))
        if unread_bodies.closes(scope):
            await unread_bodies.respond_then_read(response, scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers) -> Caller:
        """Raises AccessError, NotReady, StoreError, InvalidRequest."""
        need = need_of(scope["method"], scope["path"])
        if need is Open.PROBE:
            return NOBODY
        self._browsers.check_host(headers)
        self._browsers.check_origin(scope["method"], headers)
        if need is Open.PAGE:
            return NOBODY
        caller = await self._caller(scope, headers)
        if caller.role < need:
            raise RoleRequired(f"this needs a key with the role {need.word}")
        return caller

    async def still_admits(self, scope: Scope) -> bool:
        """Whether a request that is still answered would be admitted now."""
        try:
            await self._admit(scope, dict(scope["headers"]))
        except AccessError:
            return False
        except EvergreenError:  # as long as that is not known
            return True
        return True

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        user = self._trusted_user(scope, headers)
        if user is not None:
            return user
        if self._settings.auth == "off":
            return NOBODY
        serving = getattr(self._state, "serving", None)
        if serving is None:
            raise NotReady("the service is starting; try again in a second")
        ring = await renewed(serving.key_ring)
        known = self._with_key(ring, headers) or self._with_session(ring, headers)
        if known is not None:
            return known
        if ring.has_keys or self._settings.auth == "keys":
            raise KeyRequired(
                "this needs a key that is in force: send `Authorization: Bearer eg_...`; "
                "`evergreen key add NAME` makes one"
            )
        if _is_of_this_machine(scope, headers):
            return NOBODY
        raise KeyRequired(
            "until there is a key, only this machine is served, and not through a proxy: make one "
            "with `evergreen key add NAME` there, or set EVERGREEN_AUTH=off to serve everyone"
        )

    def _with_key(self, ring: KeyRing, headers: Headers) -> Caller | None:
        token = _token(headers)
        key = None if token is None else ring.find(token, ring.clock())
        return None if key is None else Caller(key.role, key.name, key)

    def _with_session(self, ring: KeyRing, headers: Headers) -> Caller | None:
        """Without the header Authorization only, so that one request has one key."""
        if b"cookie" not in headers or b"authorization" in headers:
            return None
        sessions: Sessions = self._state.sessions
        identity = sessions.key_id(headers)
        key = None if identity is None else ring.in_force(identity, ring.clock())
        if key is None or not sessions.is_of(headers, key):
            return None
        return Caller(key.role, key.name, key, is_signed_in=True)

    def _trusted_user(self, scope: Scope, headers: Headers) -> Caller | None:
        """The user that a proxy has authenticated. Raises InvalidRequest."""
        if not self._user_header or not headers.get(self._user_header, b"").strip():
            return None
        if not any(_address_of(scope) in network for network in self._proxies):
            return None  # anyone may send a header
        with suppress(UnicodeError):
            return Caller(self._user_role, check_who(headers[self._user_header].decode().strip()))
        return None


def _length(scope: Scope) -> int | None:
    """As announced."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _token(headers: Headers) -> str | None:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _address_of(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(scope["client"][0])
    except (KeyError, TypeError, ValueError):
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_of_this_machine(scope: Scope, headers: Headers) -> bool:
    address = _address_of(scope)
    is_forwarded = any(name in headers for name in _FORWARDED)
    return address is not None and address.is_loopback and not is_forwarded
