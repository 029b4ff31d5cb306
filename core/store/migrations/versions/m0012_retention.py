"""Predictions say whether their image is kept, and versions when they were retired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


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
    op.create_index("ix_labels_prediction_id", "labels", ["prediction_id"])
    op.add_column("versions", sa.Column("retired_at", sa.Float()))
    op.create_table(
        "doomed_blobs",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.Float()),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_doomed_blobs")),
    )
    pending = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_doomed_blobs_kind",
        "doomed_blobs",
        ["kind"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_table(
        "storage_use",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("num_items", sa.BigInteger(), nullable=False),
        sa.Column("measured_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("day", "kind", name=op.f("pk_storage_use")),
    )
    op.create_table(
        "sweep_lease",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep_lease")),
    )


def downgrade() -> None:
    for table in ("sweep_lease", "storage_use", "doomed_blobs"):
        op.drop_table(table)
    op.drop_column("versions", "retired_at")
    op.drop_index("ix_labels_prediction_id", "labels")
    op.drop_index("ix_predictions_kept", "predictions")
    op.drop_column("predictions", "capture")
    op.drop_column("predictions", "kept_bytes")
