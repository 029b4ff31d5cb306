"""Review: batches of labels, reservations, analyses and imports, and indexes to list by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_INDEXES = (
    ("labels", "label", "id"),
    ("current_labels", "label", "is_held_out", "example_id"),
    ("examples", "source", "id"),
    ("examples", "created_at"),
)


def upgrade() -> None:
    op.add_column("predictions", sa.Column("embedding", sa.LargeBinary()))
    op.add_column("labels", sa.Column("batch_id", _row_id))
    is_in_batch = sa.text("batch_id IS NOT NULL")
    op.create_index(
        "ix_labels_of_batches",
        "labels",
        ["batch_id", "id"],
        sqlite_where=is_in_batch,
        postgresql_where=is_in_batch,
    )
    for table, *columns in _INDEXES:
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
    op.create_table(
        "label_batches",
        sa.Column("id", _row_id, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("undone_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_batches")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reservations",
        sa.Column("item", sa.String(length=60), nullable=False),
        sa.Column("reviewer", sa.String(length=100), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("item", name=op.f("pk_reservations")),
    )
    op.create_index("ix_reservations_expires_at", "reservations", ["expires_at"])
    op.create_table(
        "analyses",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("snapshot", _row_id, nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_analyses")),
    )
    op.create_table(
        "imports",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("key_id", sa.String(length=12)),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=36)),
        sa.Column("heartbeat_at", sa.Float()),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger()),
        sa.Column("batch_id", _row_id),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("is_cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index("ix_imports_created_at", "imports", ["created_at"])
    op.create_index(
        "ix_imports_unfinished",
        "imports",
        ["created_at"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def downgrade() -> None:
    for table in ("imports", "analyses", "reservations", "label_batches"):
        op.drop_table(table)
    for table, *columns in _INDEXES:
        op.drop_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table)
    op.drop_index("ix_labels_of_batches", "labels")
    op.drop_column("labels", "batch_id")
    op.drop_column("predictions", "embedding")
