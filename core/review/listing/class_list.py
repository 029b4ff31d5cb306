"""The classes as people see them in a list: their examples, and what the champion makes of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from core.class_names import NONE_OF_THESE, identity
from core.labelling import classes
from core.labelling.census import read_census
from core.labelling.classes import ClassRow
from core.registry import promotions, versions


@dataclass(frozen=True, slots=True)
class ListedClass:
    name: str
    # With this label now, and those of them that are held out.
    examples: int
    held_out: int
    # Of the champion, when it was trained: judged examples, and the share that was right. None:
    # none was judged.
    judged: int
    accuracy: float | None
    last_label_at: float | None
    # Whether the champion can predict it.
    in_champion: bool


@dataclass(frozen=True, slots=True)
class ClassList:
    classes: list[ListedClass]
    # The name to go on after; None at the end.
    next_after: str | None
    num_none_of_these: int
    can_learn: bool


@dataclass(frozen=True, slots=True)
class _Champion:
    """What the champion knows, by the identity of a class."""

    classes: frozenset[str]
    # Judged, and right.
    counts: dict[str, tuple[int, int]]


def read_class_list(conn: Connection, *, limit: int, after: str | None = None) -> ClassList:
    """Read the next classes by name; with `after`, those behind that name."""
    rows = classes.listing(conn, limit=limit + 1, after=after)
    champion = _read_champion(conn)
    return ClassList(
        classes=[_listed(row, champion) for row in rows[:limit]],
        next_after=rows[limit - 1].name if len(rows) > limit else None,
        num_none_of_these=classes.num_examples(conn, NONE_OF_THESE),
        can_learn=read_census(conn).is_enough,
    )


def _read_champion(conn: Connection) -> _Champion:
    live = promotions.newest_activation(conn)
    if live is None:
        return _Champion(frozenset(), {})
    version = versions.get(conn, live.version)
    counts = {
        identity(name): (int(each["judged"]), int(each["right"]))
        for name, each in (version.metrics.get("classes") or {}).items()
    }
    return _Champion(frozenset(map(identity, version.classes)), counts)


def _listed(row: ClassRow, champion: _Champion) -> ListedClass:
    judged, right = champion.counts.get(identity(row.name), (0, 0))
    return ListedClass(
        name=row.name,
        examples=row.examples,
        held_out=row.held_out,
        judged=judged,
        accuracy=right / judged if judged else None,
        last_label_at=row.last_label_at,
        in_champion=identity(row.name) in champion.classes,
    )
