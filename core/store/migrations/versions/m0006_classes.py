"""One display form for each class. Labels that are spellings of one class get the first one given.

What is an invisible character, and the identity, are those of `core/class_names.py` at this
revision.
"""

from __future__ import annotations

import logging
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_labels = sa.table("labels", sa.column("id", sa.BigInteger), sa.column("label", sa.String))

log = logging.getLogger("core.store.migrations")


def upgrade() -> None:
    classes = op.create_table(
        "classes",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_classes")),
    )
    conn = op.get_bind()
    found = conn.execute(
        sa.select(_labels.c.label, sa.func.count())
        .where(_labels.c.label.is_not(None))
        .group_by(_labels.c.label)
        .order_by(sa.func.min(_labels.c.id))
    ).all()
    names: dict[str, str] = {}
    for label, num_events in found:
        key = _identity(label)
        if key not in names:
            names[key] = _display_form(label)
            conn.execute(sa.insert(classes).values(identity=key, name=names[key]))
        if label != names[key]:
            conn.execute(
                sa.update(_labels).where(_labels.c.label == label).values(label=names[key])
            )
            log.warning(
                "class.merged",
                extra={"label": label, "class": names[key], "label_events": num_events},
            )


def downgrade() -> None:
    op.drop_table("classes")


def _display_form(label: str) -> str:
    """Return the label without invisible characters, except those of emojis."""
    plain = "".join(c for c in label if not _is_hidden(c) or c in _VARIATION_SELECTORS)
    is_emoji = any(unicodedata.category(c) == "So" for c in label)
    return " ".join((label if is_emoji else plain).split()) or label


def _identity(label: str) -> str:
    visible = "".join(c for c in " ".join(label.split()) if not _is_hidden(c))
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", visible).casefold())
    return " ".join(unicodedata.normalize("NFKC", folded.casefold()).split())


def _is_hidden(c: str) -> bool:
    is_control = unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")
    return is_control or c in _VARIATION_SELECTORS or c in _BLANKS
