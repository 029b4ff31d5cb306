"""The queue: what is most worth a person's time to label.

*doubt* shows kept predictions that teach most, *unfamiliar* those unlike everything labelled, and
*suspect* labels that are probably wrong. Nobody is shown two near-duplicates, nor what somebody
else was shown a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from core import audit
from core.audit import Actor
from core.models.servable import Servable
from core.review.items import Found
from core.review.queue import rankings, reservations
from core.review.queue.near_duplicates import Spread
from core.review.queue.rankings import Candidate, QueueItem, Ranking
from core.review.queue.reservations import Held
from core.store.store import Store

By = Literal["doubt", "suspect", "unfamiliar"]
KINDS: tuple[By, ...] = get_args(By)
MAX_SHOWN = 100

_ALL_RESERVED = (
    "others were shown all of it, or near-duplicates, a moment ago; what they do not label is "
    f"free again within {reservations.RESERVED_S:.0f} s"
)


@dataclass(frozen=True, slots=True)
class Queue:
    by: By
    items: Sequence[QueueItem]
    # How many it chose from.
    num_waiting: int
    # What to do where there is nothing; None: there is something.
    hint: str | None


def show(
    store: Store,
    champion: Servable,
    found: Found | None,
    *,
    by: By,
    limit: int,
    reviewer: str,
    actor: Actor,
) -> Queue:
    """Choose what to show, and reserve it for the reviewer. `found` is the newest analysis.

    Raises StoreError.
    """
    now = store.db.clock()
    with store.db.read() as conn:
        held = reservations.held(conn, reviewer, now)
        match by:
            case "doubt":
                ranking = rankings.by_doubt(conn, champion, held.of_others, limit)
            case "unfamiliar":
                ranking = rankings.by_unfamiliarity(conn, champion)
            case "suspect":
                ranking = rankings.by_suspicion(conn, found, limit + len(held.of_others))
    chosen = _spread(ranking, held, limit)
    with store.db.write(durable=False) as conn:
        reservations.lock(conn)
        held_now = reservations.held(conn, reviewer, now)
        if held_now != held:
            chosen = _spread(ranking, held_now, limit)
        reservations.reserve(conn, [each.key for each in chosen], reviewer, now)
        audit.record(conn, actor, "queue.read", by, now, count=len(chosen))
    hint = None
    if not chosen:
        hint = _ALL_RESERVED if ranking.candidates else ranking.hint
    return Queue(by, [each.make() for each in chosen], ranking.num_waiting, hint)


def _spread(ranking: Ranking, held: Held, limit: int) -> list[Candidate]:
    """The first candidates that are nearly the same as no other, nor as what others have. What the
    reviewer has comes first: the best few may be others by now."""
    spread = Spread(ranking.x_ND)
    free = []
    for each in ranking.candidates:
        if each.key in held.of_others:
            spread.add(each.x_D, each.group)
        else:
            free.append(each)
    free.sort(key=lambda each: each.key not in held.own)
    chosen: list[Candidate] = []
    for each in free:
        if len(chosen) == limit:
            break
        if not spread.has_near_duplicate(each.x_D, each.group):
            spread.add(each.x_D, each.group)
            chosen.append(each)
    return chosen
