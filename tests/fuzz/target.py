"""A target: what is fuzzed, from where, and what may come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises for a fault only: the errors that the code documents are its right answer."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
