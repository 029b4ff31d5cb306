"""Lists of examples: by class, side, source, time, and by what the newest analysis says.

A page reads a bounded number of rows, however many there are (`pages.py`). `walks.py` has the
order in which they are read.

Suffix: N the examples of an analysis.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from core import class_names
from core.class_names import NONE_OF_THESE
from core.errors import InvalidRequest, UnknownClass
from core.labelling import classes
from core.review import suspicion
from core.review.items import ExampleItem, Found, read_items
from core.review.listing import cursors, pages, walks
from core.review.listing.walks import AnalysedWalk, LabelledWalk, RetractedWalk, Stop, Walk
from core.store.schema import classes as class_rows
from core.store.schema import examples, labels
from core.store.tables.tallies import current_labels

# With more label events since the analysis, its labels narrow nothing down.
MAX_CHANGED = 5_000
_MAX_NAMED = 20

Sort = Literal["newest", "oldest", "suspicion", "similarity"]


@dataclass(frozen=True, slots=True)
class ExampleFilter:
    """None: all of them."""

    # In any spelling.
    class_name: str | None = None
    held_out: bool | None = None
    source: str | None = None
    # When the example was added, both inclusive.
    since: float | None = None
    until: float | None = None
    # False: those whose labels were all retracted.
    labelled: bool = True
    # Whether the label is what the analysis predicted.
    agrees: bool | None = None
    suspected: bool | None = None
    unfamiliar: bool | None = None

    @property
    def needs_analysis(self) -> bool:
        return (self.agrees, self.suspected, self.unfamiliar) != (None, None, None)

    @property
    def is_of_labels(self) -> bool:
        return (self.class_name, self.agrees, self.suspected) != (None, None, None)


@dataclass(frozen=True, slots=True)
class ExamplePage:
    items: list[ExampleItem]
    # None: there are no more.
    next_after: str | None


def list_examples(
    conn: Connection,
    wanted: ExampleFilter,
    found: Found | None,
    *,
    sort: Sort = "newest",
    limit: int = 100,
    after: str | None = None,
) -> ExamplePage:
    """Return the next examples that match. `suspicion` sorts by the probability of the label, and
    `similarity` by that to other examples, both lowest first.

    Raises UnknownClass, InvalidRequest, InvalidLabel.
    """
    query = repr((sort, astuple(wanted)))
    place = None if after is None else cursors.decode(query, after)
    if not wanted.labelled and wanted.is_of_labels:
        raise InvalidRequest(
            "`labelled` is false, and an example without a label is of no class, agrees with "
            "nothing and is not suspected; leave out class, agrees and suspected"
        )
    is_by_score = sort in ("suspicion", "similarity")
    if wanted.class_name is not None:
        wanted = _with_stored_name(conn, wanted, wanted.class_name)
    if not (wanted.needs_analysis or is_by_score):
        walk = _walk_rows(conn, wanted, newest_first=sort == "newest")
    elif found is None:
        return ExamplePage([], None)
    else:
        walk = _walk_analysis(conn, wanted, found, sort)
    items, last = pages.fill(
        lambda after, size: walk.next(conn, after, size),
        lambda stop: (stop.key, stop.place),
        lambda stops: _matching(conn, wanted, found, stops, has_probability=sort == "suspicion"),
        place,
        limit,
    )
    return ExamplePage(items, None if last is None else cursors.encode(query, last))


def _with_stored_name(conn: Connection, wanted: ExampleFilter, name: str) -> ExampleFilter:
    """Raises UnknownClass if no example ever had the class, in any spelling."""
    key = class_names.identity(class_names.normalise(name))
    query = select(class_rows.c.name).where(class_rows.c.identity == key)
    stored = conn.execute(query).scalar()
    if stored is None and class_names.is_same(name, NONE_OF_THESE):
        stored = NONE_OF_THESE
    if stored is None:
        known = sorted(classes.read_names(conn).values())
        more = f", and {len(known) - _MAX_NAMED:,} more" if len(known) > _MAX_NAMED else ""
        raise UnknownClass(
            f"class {name[:100]!r} has no examples; there are "
            f"{', '.join(map(repr, known[:_MAX_NAMED])) or 'no classes yet'}{more}"
        )
    return replace(wanted, class_name=stored)


def _walk_rows(conn: Connection, wanted: ExampleFilter, *, newest_first: bool) -> Walk:
    if not wanted.labelled:
        return RetractedWalk(newest_first)
    bounds = walks.bounds_of(conn, wanted.since, wanted.until)
    return LabelledWalk(bounds, newest_first, wanted.class_name, wanted.held_out, wanted.source)


def _walk_analysis(conn: Connection, wanted: ExampleFilter, found: Found, sort: Sort) -> Walk:
    row, analysis = found
    is_in_N = np.ones(len(analysis), np.bool_)
    if wanted.unfamiliar is not None:
        is_in_N &= analysis.is_unfamiliar_N == wanted.unfamiliar
    if wanted.suspected:
        is_in_N &= suspicion.may_be_suspected_N(analysis)
    by_label_N = np.ones(len(analysis), np.bool_)
    if wanted.agrees is not None:
        by_label_N &= (analysis.predicted_N == analysis.label_N) == wanted.agrees
    if wanted.class_name is not None:
        of_class = [class_names.is_same(wanted.class_name, name) for name in analysis.names]
        by_label_N &= np.array(of_class, np.bool_)[analysis.label_N]
    if not by_label_N.all():
        is_in_N &= by_label_N | _is_changed_N(conn, row.snapshot, analysis.example_id_N)
    bounds = walks.bounds_of(conn, wanted.since, wanted.until)
    return AnalysedWalk(analysis, sort, is_in_N, bounds)


def _is_changed_N(conn: Connection, snapshot: int, id_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the label may be another one than at the snapshot."""
    query = select(labels.c.example_id).where(labels.c.id > snapshot).order_by(labels.c.id)
    changed = list(conn.scalars(query.limit(MAX_CHANGED)))
    if len(changed) == MAX_CHANGED:
        return np.ones(len(id_N), np.bool_)
    is_changed_N: NDArray[np.bool_] = np.isin(id_N, np.array(changed, np.int64))
    return is_changed_N


def _matching(
    conn: Connection,
    wanted: ExampleFilter,
    found: Found | None,
    stops: list[Stop],
    *,
    has_probability: bool,
) -> list[tuple[Stop, ExampleItem]]:
    by_id = {stop.example_id: stop for stop in stops}
    ids = _of_rows(conn, wanted, list(by_id))
    items = [item for item in read_items(conn, ids, found) if _matches(item, wanted)]
    if has_probability or wanted.suspected is not None:
        items = [item for item in items if item.label_probability is not None]
    if wanted.suspected is not None:
        suspects = suspicion.suspected(conn, items)
        items = [item for item in items if (item.id in suspects) == wanted.suspected]
    return [(by_id[item.id], item) for item in items]


def _of_rows(conn: Connection, wanted: ExampleFilter, ids: list[int]) -> list[int]:
    """Leave out what the rows alone rule out: reading 2,000 examples whole takes 35 ms."""
    if not wanted.labelled:
        query = select(current_labels.c.example_id).where(current_labels.c.example_id.in_(ids))
        labelled = set(conn.scalars(query))
        ids = [number for number in ids if number not in labelled]
    if wanted.source is None and wanted.since is None and wanted.until is None:
        return ids
    # By their ids alone: with conditions, a database may read an index on one of them instead.
    columns = (examples.c.id, examples.c.source, examples.c.created_at)
    rows = conn.execute(select(*columns).where(examples.c.id.in_(ids)))
    right = {
        row.id
        for row in rows
        if wanted.source in (None, row.source)
        and (wanted.since is None or row.created_at >= wanted.since)
        and (wanted.until is None or row.created_at <= wanted.until)
    }
    return [number for number in ids if number in right]


def _matches(item: ExampleItem, wanted: ExampleFilter) -> bool:
    """All but whether it is suspected, which needs its earlier labels."""
    return (
        (item.label is not None) == wanted.labelled
        and wanted.class_name in (None, item.label)
        and wanted.held_out in (None, item.is_held_out)
        and wanted.source in (None, item.source)
        and (wanted.since is None or item.created_at >= wanted.since)
        and (wanted.until is None or item.created_at <= wanted.until)
        and wanted.unfamiliar in (None, item.unfamiliar)
        and (wanted.agrees is None or _agrees(item) == wanted.agrees)
    )


def _agrees(item: ExampleItem) -> bool | None:
    """None: nothing was predicted."""
    if item.predicted is None or item.label is None:
        return None
    return class_names.is_same(item.predicted, item.label)
