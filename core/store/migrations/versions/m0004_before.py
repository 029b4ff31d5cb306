"""Each activation says which one is before it, instead of all of them being read to tell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_activations = sa.table(
    "activations", sa.column("id"), sa.column("version"), sa.column("before_id")
)


def upgrade() -> None:
    op.add_column("activations", sa.Column("before_id", _row_id))
    conn = op.get_bind()
    ids_by_version: dict[int, int] = {}
    found = conn.execute(sa.select(_activations.c.id, _activations.c.version).order_by("id")).all()
    for number, version in found:
        if version in ids_by_version:
            # It is returned to: what came after it is left.
            for left in list(ids_by_version)[list(ids_by_version).index(version) :]:
                del ids_by_version[left]
        before = next(reversed(ids_by_version.values()), None)
        ids_by_version[version] = number
        conn.execute(
            sa.update(_activations).where(_activations.c.id == number).values(before_id=before)
        )


def downgrade() -> None:
    op.drop_column("activations", "before_id")
