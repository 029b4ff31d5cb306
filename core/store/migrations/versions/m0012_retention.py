"""Predictions say whether their image is kept, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0007"


def upgrade() -> None:
    # Rows so far get the default, which says that their image is kept. It is stored once.
    op.add_column("predictions", sa.Column("kept_bytes", sa.Integer(), server_default="0"))
    op.add_column("predictions", sa.Column("capture", sa.String(length=20)))
    kept = sa.text("kept_bytes IS NOT NULL")
    op.create_index(
        "ix_predictions_kept",
        "predictions",
        ["created_at"],
        sqlite_where=kept,
        postgresql_where=kept,
    )


def downgrade() -> None:
    op.drop_index("ix_predictions_kept", "predictions")
    op.drop_column("predictions", "capture")
    op.drop_column("predictions", "kept_bytes")
