"""What kind of input a home has, and the options of an import."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "home",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("input", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_home")),
    )
    op.add_column("imports", sa.Column("options", sa.JSON()))


def downgrade() -> None:
    op.drop_column("imports", "options")
    op.drop_table("home")
