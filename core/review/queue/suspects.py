"""Labels that are probably wrong, the least probable first: `core/review/suspicion.py` decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from core.review.analysis import Analysis
from core.review.items import ExampleItem, Found, read_items
from core.review.suspicion import may_be_suspected_N, suspected
from core.store.schema import examples

_CHUNK = 200
# So many are looked at, where most have got another label or were confirmed since.
_MAX_READ = 5_000


def read_suspects(
    conn: Connection, found: Found, most: int
) -> tuple[list[tuple[ExampleItem, str]], int]:
    """Return suspects with their groups of near-duplicates, and the number of all in the analysis.

    There are somewhat more than `most`, if there are as many.
    """
    ids = found[1].example_id_N[least_probable_first(found[1])].tolist()
    suspects: list[tuple[ExampleItem, str]] = []
    for start in range(0, min(len(ids), _MAX_READ), _CHUNK):
        items = read_items(conn, ids[start : start + _CHUNK], found)
        wanted = suspected(conn, items)
        groups = _groups(conn, sorted(wanted))
        suspects += [(item, groups[item.id]) for item in items if item.id in groups]
        # Near-duplicates among them are not shown.
        if len(suspects) >= 2 * most:
            break
    return suspects, len(ids)


def least_probable_first(analysis: Analysis) -> NDArray[np.intp]:
    """Return the rows of the labels that the analysis doubts."""
    rows = np.flatnonzero(may_be_suspected_N(analysis))
    order: NDArray[np.intp] = rows[np.argsort(analysis.label_probability_N[rows], kind="stable")]
    return order


def _groups(conn: Connection, ids: Sequence[int]) -> dict[int, str]:
    query = select(examples.c.id, examples.c.group_id).where(examples.c.id.in_(ids))
    return {row.id: row.group_id for row in conn.execute(query)}
