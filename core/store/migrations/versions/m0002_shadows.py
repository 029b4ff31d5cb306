"""What shadows answer, and how often they agree with the champion."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "shadow_answers",
        sa.Column("prediction_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", "version", name=op.f("pk_shadow_answers")),
    )
    op.create_table(
        "shadow_tallies",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.Column("agreements", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("version", "champion", name=op.f("pk_shadow_tallies")),
    )


def downgrade() -> None:
    op.drop_table("shadow_tallies")
    op.drop_table("shadow_answers")
