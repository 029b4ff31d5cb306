"""The keys in force, fresh enough to answer by."""

from __future__ import annotations

import asyncio

from core.access.key_ring import PATIENCE_S, KeyRing


async def renewed(ring: KeyRing) -> KeyRing:
    """Wait a moment for the keys to be read again, if they were read too long ago."""
    if ring.is_stale:
        reading = asyncio.shield(asyncio.wrap_future(ring.renew()))
        try:
            await asyncio.wait_for(reading, PATIENCE_S)
        except TimeoutError:
            ring.go_on()
    return ring
