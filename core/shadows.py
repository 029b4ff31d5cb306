"""Shadows: the versions that answer silently beside the champion, and which ones those are.

A shadow shares the champion's backbone, so that it costs a head and no more: it scores the
embedding that the champion's answer left. Owns the choice; `service/shadows.py` loads them, and
`core/shadow_answers.py` keeps what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from core import activations, versions
from core.champion import Activation
from core.errors import UnknownVersion
from core.versions import Version

MAX_SHADOWS = 4
_LOOK_BACK = 20


@dataclass(frozen=True, slots=True)
class Choice:
    # The champion before this one: kept loaded, so that a rollback is at once.
    previous: int | None = None
    # First the one before the champion, if it shares the backbone.
    shadows: tuple[int, ...] = ()
    # Versions that could have been shadows, and why they are not.
    skipped: dict[int, str] = field(default_factory=dict)


def choose(
    live: Version,
    previous: Version | None,
    named: Iterable[Version],
    held_back: Iterable[Version],
) -> Choice:
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
    return Choice(previous.number if previous else None, tuple(chosen), skipped)


def read(conn: Connection, activation: Activation, named: Sequence[int]) -> Choice:
    """The choice beside the champion of this activation, the newest."""
    before = activations.version_before(conn)
    found: list[Version] = []
    unknown: dict[int, str] = {}
    for number in named:
        try:
            found.append(versions.get(conn, number))
        except UnknownVersion as error:
            unknown[number] = str(error)
    choice = choose(
        versions.get(conn, activation.version),
        versions.get(conn, before) if before is not None else None,
        found,
        held_back_since(conn, activation),
    )
    return Choice(choice.previous, choice.shadows, choice.skipped | unknown)


def held_back_since(conn: Connection, activation: Activation) -> list[Version]:
    """The newest versions that the gate held back from replacing this champion, newest first."""
    newest = versions.listing(conn, limit=_LOOK_BACK, since=activation.created_at)
    return [version for version in newest if not version.passed_gate][:MAX_SHADOWS]
