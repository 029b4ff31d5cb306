"""Quotas of a key, such as `100/minute` and `1GB/day`, and how long a key lives, such as `90d`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import InvalidRequest

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_LIFETIMES = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_QUOTA = re.compile(r"(\d{1,15}) ?([kmgt]?b|) ?/ ?(second|minute|hour|day)", re.IGNORECASE)
_LIFETIME = re.compile(r"(\d{1,5}) ?([mhdwy])")


@dataclass(frozen=True, slots=True)
class Quota:
    amount: int
    per_s: int


def parse_requests(text: str) -> Quota:
    """Raises InvalidRequest."""
    match = _QUOTA.fullmatch(text.strip())
    if match is None or match[2] or int(match[1]) == 0:
        raise InvalidRequest(
            f"the quota of requests is {text[:40]!r}; write a number from 1 and a period, such as "
            "100/minute (or second, hour, day)"
        )
    return Quota(int(match[1]), _SECONDS[match[3].lower()])


def parse_bytes(text: str) -> Quota:
    """Raises InvalidRequest."""
    match = _QUOTA.fullmatch(text.strip())
    if match is None or not match[2] or int(match[1]) == 0:
        raise InvalidRequest(
            f"the quota of bytes is {text[:40]!r}; write a number from 1 with B, kB, MB, GB or TB, "
            "and a period, such as 1GB/day (or second, minute, hour)"
        )
    unit = match[2].lower().removesuffix("b")
    return Quota(int(match[1]) * _BYTES[f"{unit}b" if unit else ""], _SECONDS[match[3].lower()])


def parse_lifetime(text: str) -> float:
    """In seconds. Raises InvalidRequest."""
    match = _LIFETIME.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise InvalidRequest(
            f"the lifetime is {text[:40]!r}; write a number from 1 and a unit, such as 90d (m for "
            "minutes, h, d, w, y)"
        )
    return float(int(match[1]) * _LIFETIMES[match[2]])
