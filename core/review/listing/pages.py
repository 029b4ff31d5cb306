"""A page of a list, from a bounded number of rows: what is filtered out may be most of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

# Rows that a page looks at, if it is not larger itself. It takes some 10 ms.
MAX_ROWS = 2_000

Row = TypeVar("Row")
Shown = TypeVar("Shown")
Place = TypeVar("Place")


def fill(
    rows_after: Callable[[Place | None, int], list[Row]],
    place_of: Callable[[Row], Place],
    matching: Callable[[list[Row]], Sequence[tuple[Row, Shown]]],
    after: Place | None,
    limit: int,
) -> tuple[list[Shown], Place | None]:
    """Return what matches of the rows after a place, and the place to go on after; None at the end.

    There may be fewer than `limit`, or none, and still a place. `rows_after` returns fewer rows
    than it is asked for at the end of the list alone.
    """
    found: list[tuple[Row, Shown]] = []
    last: Row | None = None
    for rows in _windows(rows_after, place_of, after, limit + 1):
        found += matching(rows)
        last = rows[-1] if rows else None
        if len(found) > limit:
            found = found[:limit]
            last = found[-1][0]
            break
    return [shown for _, shown in found], None if last is None else place_of(last)


def _windows(
    rows_after: Callable[[Place | None, int], list[Row]],
    place_of: Callable[[Row], Place],
    place: Place | None,
    size: int,
) -> Iterator[list[Row]]:
    """Windows that grow, until the rows are used up. An empty one: the list has ended."""
    left = max(MAX_ROWS, size)
    while left:
        size = min(size, left)
        rows = rows_after(place, size)
        yield rows
        if len(rows) < size:
            yield []
            return
        place = place_of(rows[-1])
        left -= size
        size *= 4
