"""Selection of shadows: versions that also score each image, without affecting the response.

A shadow shares the champion's backbone and scores the champion's embedding, so it costs one head.
`service/swap/shadows.py` loads shadows, and `core/shadows/answers.py` stores their answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from core.registry import activations, versions
from core.registry.promotions import Activation
from core.registry.versions import VersionRef

MAX_SHADOWS = 4
# How many of the newest versions are searched for ones that the gate held back.
_LOOK_BACK = 20


@dataclass(frozen=True, slots=True)
class ShadowSelection:
    # The champion before this one. It stays loaded, so a rollback is immediate.
    previous: int | None = None
    # In order of priority, so first the previous champion if it shares the backbone.
    shadows: tuple[int, ...] = ()
    # Versions that were candidates, and why they are no shadows.
    skipped: dict[int, str] = field(default_factory=dict)


def choose(
    live: VersionRef,
    previous: VersionRef | None,
    named: Iterable[VersionRef],
    held_back: Iterable[VersionRef],
) -> ShadowSelection:
    """Take the previous champion, then named versions, then the newest that the gate held back."""
    wanted = [*([previous] if previous else []), *named, *held_back]
    candidates = {version.number: version for version in wanted if version.number != live.number}
    chosen: list[int] = []
    skipped: dict[int, str] = {}
    for number, version in candidates.items():
        if version.backbone != live.backbone:
            skipped[number] = f"it has another backbone than the champion, version {live.number}"
        elif len(chosen) == MAX_SHADOWS:
            skipped[number] = f"at most {MAX_SHADOWS} versions shadow at a time"
        else:
            chosen.append(number)
    return ShadowSelection(previous.number if previous else None, tuple(chosen), skipped)


def select(conn: Connection, activation: Activation, named: Sequence[int]) -> ShadowSelection:
    """Choose the shadows of the champion that the newest `activation` names.

    `named` are the versions that the setting asks for.
    """
    before = activations.version_before(conn)
    refs = versions.get_refs(conn, {activation.version, *named, *([before] if before else [])})
    # Those that the gate compared with this champion.
    held_back = versions.held_back_since(conn, activation.created_at, _LOOK_BACK)
    selection = choose(
        refs[activation.version],
        refs.get(before) if before else None,
        [refs[number] for number in named if number in refs],
        held_back[:MAX_SHADOWS],
    )
    unknown = {n: f"version {n} does not exist" for n in named if n not in refs}
    return replace(selection, skipped=selection.skipped | unknown)
