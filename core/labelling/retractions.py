"""Retract a label."""

from __future__ import annotations

from core.audit import Actor
from core.errors import RoleRequired, UnknownFeedback
from core.labelling import classes, label_audit, labels
from core.labelling.intake import IntakeResult
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.store.store import Store


def retract(
    store: Store,
    event_id: int,
    *,
    who: str,
    now: float,
    only_own: bool = False,
    by: Actor | None = None,
) -> IntakeResult:
    """Retract a label. The label before it, if any, becomes current again.

    With `only_own`, one that `who` gave. Raises UnknownFeedback, InvalidRequest, RoleRequired.
    """
    check_plain("who", who, MAX_WHO_CHARACTERS)
    with store.db.write() as conn:
        labels.lock_order(conn)
        event = labels.get(conn, event_id)
        if event is None or event.retracts is not None:
            raise UnknownFeedback(
                f"feedback {event_id} does not exist; send the id that the label answered with"
            )
        if only_own and event.who != who:
            raise RoleRequired(
                f"feedback {event_id} is of somebody else: to retract it needs the role train"
            )
        earlier = labels.retraction_of(conn, event_id)
        if earlier is not None:
            return IntakeResult(earlier, is_new=False)
        retraction = labels.append(
            conn, example_id=event.example_id, label=None, retracts=event_id, who=who, now=now
        )
        classes.join_current(conn)
        label_audit.record_retracted(conn, by or Actor(who), retraction, now)
        return IntakeResult(retraction, is_new=True)
