"""Each prediction says whether its image was unlike everything labelled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("predictions", sa.Column("unfamiliar", sa.Boolean()))


def downgrade() -> None:
    op.drop_column("predictions", "unfamiliar")
