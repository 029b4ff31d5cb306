"""Blobs that the store was found to lack, or to hold damaged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "lost_blobs",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("problem", sa.String(length=20), nullable=False),
        sa.Column("found_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_lost_blobs")),
    )


def downgrade() -> None:
    op.drop_table("lost_blobs")
