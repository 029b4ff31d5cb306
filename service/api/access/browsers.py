"""What browsers send of their own accord, and a foreign page cannot forge: Host, Origin and
Sec-Fetch-Site. Checked with keys and without.

A name that an attacker owns may lead to this machine (DNS rebinding), and a page of another site
may send changes through the browser of a visitor.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from core.errors import ForeignOrigin, UnknownHost

_SAME = (b"same-origin", b"none")  # none: the user typed the address
_MAX_HOST_BYTES = 260
_READING = ("GET", "HEAD", "OPTIONS")


class Browsers:
    def __init__(self, hosts: Collection[str], cors_origins: Collection[str]) -> None:
        self._hosts = frozenset(hosts)
        self._cors_origins = frozenset(cors_origins)
        self._is_known = functools.lru_cache(maxsize=256)(self._knows)

    def check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises UnknownHost."""
        host = headers.get(b"host")
        # No browser sends none, and no name is longer.
        if host is None or (len(host) <= _MAX_HOST_BYTES and self._is_known(host)):
            return
        shown = host.decode("latin-1")[:100]
        raise UnknownHost(
            f"the Host is {shown!r}, which is no name of this server; use its IP address or "
            "localhost, or add the name to EVERGREEN_HOSTS"
        )

    def _knows(self, host: bytes) -> bool:
        if "*" in self._hosts:
            return True
        name = _without_port(host.decode("latin-1").lower()).rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:  # no name, so no name of an attacker
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def check_origin(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Raises ForeignOrigin if a page of another origin sends a change."""
        if method in _READING:
            return
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is None and site is None:
            return  # no browser
        if origin is not None and origin.decode("latin-1").lower() in self._cors_origins:
            return
        if site is not None:  # says it also where a proxy has replaced the Host
            if site in _SAME:
                return
        elif origin is not None and _is_of(origin, headers.get(b"host", b"")):
            return
        shown = (origin or b"another site").decode("latin-1")[:100]
        raise ForeignOrigin(
            f"the request comes from a page of {shown}, which may not change anything here; "
            "EVERGREEN_CORS_ORIGINS names the origins that may"
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _is_of(origin: bytes, host: bytes) -> bool:
    """A proxy may have ended TLS, so the schemes may differ."""
    return urlsplit(origin.decode("latin-1").lower()).netloc.encode() == host.lower()
