"""Whether new labels change what a run learns.

A class joins with its second training example. Until then its first label changes nothing, and a
run would train the same head again. The label `none of these` changes something only if it takes
an example out of a class.
"""

from __future__ import annotations

from sqlalchemy import Connection

from core.labelling import labels
from core.labelling.census import has_left_a_class, read_census


def can_learn(conn: Connection, snapshot: int) -> bool:
    """Whether a run on the current labels can teach more than one on the snapshot."""
    census = read_census(conn)
    if not census.is_enough:
        return False
    # The first is mostly true, and then costs nothing. Both read no more than the new labels.
    return labels.has_any_after(conn, snapshot, census.classes) or has_left_a_class(conn, snapshot)
