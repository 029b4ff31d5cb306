"""Runs are many after a year of labels, and the trainer asks about them ten times a second."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(op.f("ix_runs_finished_at"), "runs", ["finished_at"])
    op.create_index("ix_runs_state_snapshot", "runs", ["state", "snapshot"])


def downgrade() -> None:
    op.drop_index("ix_runs_state_snapshot", table_name="runs")
    op.drop_index(op.f("ix_runs_finished_at"), table_name="runs")
