"""Ended runs are counted as they end, instead of all of them being read at each scrape."""

from __future__ import annotations

import math

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

_runs = sa.table(
    "runs",
    sa.column("outcome", sa.String),
    sa.column("state", sa.String),
    sa.column("started_at", sa.Float),
    sa.column("finished_at", sa.Float),
)


def upgrade() -> None:
    tallies = op.create_table(
        "run_tallies",
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("at_most_s", sa.Float(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("outcome", "at_most_s", name=op.f("pk_run_tallies")),
    )
    # A run that was cancelled before it started took no time.
    seconds = sa.func.coalesce(_runs.c.finished_at - _runs.c.started_at, 0.0)
    ended = (
        sa.select(
            sa.func.coalesce(_runs.c.outcome, _runs.c.state).label("outcome"),
            sa.case(
                *((seconds <= limit, sa.literal(limit, sa.Float)) for limit in _BUCKETS_S),
                else_=sa.literal(math.inf, sa.Float),
            ).label("at_most_s"),
            seconds.label("seconds"),
        )
        .where(_runs.c.finished_at.is_not(None))
        .subquery()
    )
    bucket = (ended.c.outcome, ended.c.at_most_s)
    counted = sa.select(*bucket, sa.func.count(), sa.func.sum(ended.c.seconds)).group_by(*bucket)
    op.execute(sa.insert(tallies).from_select(["outcome", "at_most_s", "runs", "seconds"], counted))


def downgrade() -> None:
    op.drop_table("run_tallies")
