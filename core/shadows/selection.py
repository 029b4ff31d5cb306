"""Shadows: the versions that answer silently beside the champion, and which ones those are.

A shadow shares the champion's backbone, so that it costs a head and no more: it scores the
embedding that the champion's answer left. Owns the choice; `service/swap/shadows.py` loads them,
and `core/shadows/answers.py` keeps what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from core.registry import activations, versions
from core.registry.promotions import Activation
from core.registry.versions import VersionRef

MAX_SHADOWS = 4
_LOOK_BACK = 20


@dataclass(frozen=True, slots=True)
class ShadowSelection:
    # The champion before this one: kept loaded, so that a rollback is at once.
    previous: int | None = None
    # First the one before the champion, if it shares the backbone.
    shadows: tuple[int, ...] = ()
    # Versions that could have been shadows, and why they are not.
    skipped: dict[int, str] = field(default_factory=dict)


def choose(
    live: VersionRef,
    previous: VersionRef | None,
    named: Iterable[VersionRef],
    held_back: Iterable[VersionRef],
) -> ShadowSelection:
    """The one before, then those that a person named, then the newest that the gate held back."""
    wanted = [*([previous] if previous else []), *named, *held_back]
    candidates = {version.number: version for version in wanted if version.number != live.number}
    chosen: list[int] = []
    skipped: dict[int, str] = {}
    for number, version in candidates.items():
        if version.backbone != live.backbone:
            skipped[number] = f"it has another backbone than the champion, version {live.number}"
        elif len(chosen) == MAX_SHADOWS:
            skipped[number] = f"at most {MAX_SHADOWS} versions shadow at once"
        else:
            chosen.append(number)
    return ShadowSelection(previous.number if previous else None, tuple(chosen), skipped)


def select(conn: Connection, activation: Activation, named: Sequence[int]) -> ShadowSelection:
    """The choice beside the champion of this activation, the newest."""
    before = activations.version_before(conn)
    found = versions.get_refs(conn, {activation.version, *named, *([before] if before else [])})
    # Of the gate: from replacing this champion.
    held_back = versions.held_back_since(conn, activation.created_at, _LOOK_BACK)
    choice = choose(
        found[activation.version],
        found.get(before) if before else None,
        [found[number] for number in named if number in found],
        held_back[:MAX_SHADOWS],
    )
    unknown = {n: f"version {n} does not exist" for n in named if n not in found}
    return ShadowSelection(choice.previous, choice.shadows, choice.skipped | unknown)
