"""What was erased, and which versions saw it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", _row_id, nullable=False),
        sa.Column("image", sa.String(length=64), nullable=False),
        sa.Column("example_id", _row_id),
        sa.Column("prediction_id", sa.String(length=36)),
        sa.Column("first_event", _row_id),
        sa.Column("last_event", _row_id),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
        sa.UniqueConstraint("example_id", name=op.f("uq_erasures_example_id")),
        sa.UniqueConstraint("prediction_id", name=op.f("uq_erasures_prediction_id")),
    )
    op.create_index(op.f("ix_erasures_image"), "erasures", ["image"])
    op.create_index(op.f("ix_erasures_created_at"), "erasures", ["created_at"])
    op.create_table(
        "erased_versions",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("erased_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_erased_versions")),
    )


def downgrade() -> None:
    op.drop_table("erased_versions")
    op.drop_table("erasures")
