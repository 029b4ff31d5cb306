"""Walks: in which order a list visits the examples, and where it goes on.

A walk gives places and ids in order, a window at a time, from an index of the database or from the
arrays of an analysis. What it gives may still not match: `browse.py` reads the rows and looks.

Suffix: N the examples of an analysis.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, ColumnElement, Connection, func, select

from core.review.analysis import Analysis
from core.store.schema import examples, labels
from core.store.tables.tallies import current_labels

_MAX_ID = 2**63 - 1
# Ids follow the times of examples, except for labels that are written concurrently.
_SLACK_S = 60.0


class Stop(NamedTuple):
    """A visited example, and its place in the order of the walk."""

    key: float
    # Orders what has the same key: the id of the example, or of what led to it.
    place: int
    example_id: int


class Bounds(NamedTuple):
    """Of example ids, exclusive."""

    low: int = 0
    high: int = _MAX_ID


class Walk(Protocol):
    def next(self, conn: Connection, after: tuple[float, int] | None, size: int) -> list[Stop]:
        """Up to `size` stops after a place. Fewer than that: there are no more."""


def bounds_of(conn: Connection, since: float | None, until: float | None) -> Bounds:
    """Ids within which all examples of a time are, by the index on times: two rows are read."""
    at = examples.c.created_at
    low, high = 0, _MAX_ID
    if since is not None:
        before = select(examples.c.id).where(at < since - _SLACK_S).order_by(at.desc())
        low = conn.execute(before.limit(1)).scalar() or 0
    if until is not None:
        after = select(examples.c.id).where(at > until + _SLACK_S).order_by(at)
        high = conn.execute(after.limit(1)).scalar() or _MAX_ID
    return Bounds(low, high)


@dataclass(frozen=True, slots=True)
class LabelledWalk:
    """The labelled examples by id, through the narrowest index for what is asked."""

    bounds: Bounds
    newest_first: bool
    class_name: str | None = None
    held_out: bool | None = None
    source: str | None = None

    def next(self, conn: Connection, after: tuple[float, int] | None, size: int) -> list[Stop]:
        column: Column[int] = current_labels.c.example_id
        ways: list[tuple[ColumnElement[bool], ...]] = [()]
        if self.class_name is not None:
            sides = (False, True) if self.held_out is None else (self.held_out,)
            of_class = current_labels.c.label == self.class_name
            ways = [(of_class, current_labels.c.is_held_out == side) for side in sides]
        elif self.source is not None:
            column, ways = examples.c.id, [(examples.c.source == self.source,)]
        # Each way has its index, in the order of ids: merged, they need no sort.
        found = [self._ids(conn, column, way, after, size) for way in ways]
        merged = heapq.merge(*found, reverse=self.newest_first)
        return [Stop(0.0, number, number) for number in itertools.islice(merged, size)]

    def _ids(
        self,
        conn: Connection,
        column: Column[int],
        way: Iterable[ColumnElement[bool]],
        after: tuple[float, int] | None,
        size: int,
    ) -> list[int]:
        low, high = self.bounds
        if after is not None:
            low, high = (
                (low, min(high, after[1])) if self.newest_first else (max(low, after[1]), high)
            )
        order = column.desc() if self.newest_first else column
        query = select(column).where(*way, column > low, column < high)
        return list(conn.scalars(query.order_by(order).limit(size)))


@dataclass(frozen=True, slots=True)
class RetractedWalk:
    """Examples whose labels were all retracted, by the id of the newest label retracted."""

    newest_first: bool

    def next(self, conn: Connection, after: tuple[float, int] | None, size: int) -> list[Stop]:
        column = labels.c.retracts
        low, high = 0, _MAX_ID
        if after is not None:
            low, high = (0, after[1]) if self.newest_first else (after[1], _MAX_ID)
        order = column.desc() if self.newest_first else column
        query = select(column, labels.c.example_id).where(column > low, column < high)
        rows = conn.execute(query.order_by(order).limit(size)).all()
        newest = (
            select(func.max(labels.c.retracts))
            .where(labels.c.example_id.in_({row.example_id for row in rows}))
            .group_by(labels.c.example_id)
        )
        # An example with several retractions comes once. The others are places without an example.
        last = set(conn.scalars(newest)) if rows else set()
        return [
            Stop(0.0, row.retracts, row.example_id if row.retracts in last else 0) for row in rows
        ]


@dataclass(frozen=True, slots=True, eq=False)
class AnalysedWalk:
    """Some of the examples of an analysis, in the order of their ids or of a score."""

    analysis: Analysis
    # `newest`, `oldest`, `suspicion` or `similarity`.
    sort: str
    wanted_N: NDArray[np.bool_]
    bounds: Bounds

    def next(self, conn: Connection, after: tuple[float, int] | None, size: int) -> list[Stop]:
        order, key_N = self._order()
        id_N = self.analysis.example_id_N
        start = 0 if after is None else _place_after(key_N[order], id_N[order], after)
        rest = order[start:]
        ids = id_N[rest]
        is_in = self.wanted_N[rest] & (ids > self.bounds.low) & (ids < self.bounds.high)
        rows = rest[is_in][:size]
        keys, found = key_N[rows].tolist(), id_N[rows].tolist()
        return [Stop(key, number, number) for key, number in zip(keys, found, strict=True)]

    def _order(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The rows of the analysis in order, and the key of each row."""
        if self.sort in ("suspicion", "similarity"):
            return _by_score(self.analysis, self.sort)
        rows = np.arange(len(self.analysis))  # by ascending id
        key_N = self.analysis.example_id_N.astype(np.float64)
        return (rows[::-1], -key_N) if self.sort == "newest" else (rows, key_N)


# Sorting 10^5 scores takes 10 ms. The newest analysis is in memory anyway.
@functools.lru_cache(maxsize=2)
def _by_score(analysis: Analysis, sort: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Those with a score, lowest first."""
    score_N = analysis.label_probability_N if sort == "suspicion" else analysis.similarity_N
    key_N = score_N.astype(np.float64)
    order = np.lexsort((analysis.example_id_N, key_N))
    return order[np.isfinite(key_N[order])], key_N


def _place_after(
    keys: NDArray[np.float64], ids: NDArray[np.int64], after: tuple[float, int]
) -> int:
    """The first place behind one, in keys and ids that are sorted."""
    low, high = (int(np.searchsorted(keys, after[0], side)) for side in ("left", "right"))
    return low + int(np.searchsorted(ids[low:high], after[1], "right"))
