"""Who may send requests to `evergreen serve`: what its first message says, and the first key."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cli.actor import actor
from core.access import keys
from core.access.roles import Role
from core.settings import Settings
from core.store.database import Database

_WITH_KEY = ' -H "Authorization: Bearer $EVERGREEN_API_KEY"'
_FIRST_NAME = "admin"


@dataclass(frozen=True, slots=True)
class Access:
    text: str
    # What the examples with curl need.
    curl: str = ""


def prepare(settings: Settings, address: str, db: Database) -> Access:
    """Make the first key, if the address is one of a network. Raises InvalidRequest if the file
    with the admin's key holds none."""
    if settings.admin_key_file is not None:
        keys.read_file(settings.admin_key_file)
    is_local = ipaddress.ip_address(address).is_loopback
    if settings.auth == "off":
        if is_local:
            return Access("Requests need no key (EVERGREEN_AUTH=off).")
        return Access(
            "WARNING: requests need no key (EVERGREEN_AUTH=off). Whoever reaches this address may "
            "label, train and promote."
        )
    with db.read() as conn:
        has_keys = settings.admin_key_file is not None or keys.marker(conn) != (0, 0)
    if has_keys:
        return Access("Requests need a key. `evergreen key add NAME` makes one.", _WITH_KEY)
    if is_local and settings.auth == "auto":
        return Access(
            "There are no keys, so only this machine is served. `evergreen key add NAME` makes the "
            "first key, and from then on every request needs one."
        )
    with db.write() as conn:
        _, key = keys.add(conn, _FIRST_NAME, Role.ADMIN, now=db.clock(), by=actor())
    return Access(
        f"Requests need a key. This is the first, of an admin; it is not shown again:\n  {key}\n"
        "`evergreen key add NAME` makes more, with fewer rights.",
        _WITH_KEY,
    )
