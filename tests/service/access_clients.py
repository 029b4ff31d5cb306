"""Clients with keys."""

from __future__ import annotations

import time
from typing import Any

from core.access import keys
from core.access.roles import Role
from core.store.store import Store
from service.inference.serving_process import ServingProcess

Headers = dict[str, str]


def add_key(store: Store, name: str, role: Role, **options: Any) -> Headers:
    """Returns the header of a client that has this new key."""
    with store.db.write() as conn:
        _, key = keys.add(conn, name, role, now=time.time(), **options)
    return {"Authorization": f"Bearer {key}"}


def add_keys(serving: ServingProcess) -> dict[Role, Headers]:
    """A key for each role, in force now. Returns their headers."""
    made = {role: add_key(serving.store, f"a-{role.word}", role) for role in Role}
    serving.key_ring.renew().result(5)
    return made
