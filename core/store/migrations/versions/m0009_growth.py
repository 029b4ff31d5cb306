"""No read grows with the tables: the current labels and their numbers are kept by triggers, and
indexes cover what is asked often."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_INDEXES = (
    ("runs", "tier", "finished_at"),
    ("versions", "backbone"),
    ("versions", "snapshot"),
    ("promotions", "state"),
    ("promotions", "version"),
    ("activations", "version"),
    ("activations", "who"),
    ("activations", "created_at"),
    ("shadow_tallies", "champion"),
)
_CURRENT = """
    SELECT e.id, l.id, l.label, e.is_held_out FROM labels l JOIN examples e ON e.id = l.example_id
    WHERE l.example_id = {example} AND l.label IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM labels r WHERE r.retracts = l.id)
    ORDER BY l.id DESC LIMIT 1"""
# Takes the example out of its class, and puts it into the one that is current now.
_REFRESH = f"""
    UPDATE class_sizes SET examples = examples - 1
    WHERE label = (SELECT label FROM current_labels WHERE example_id = {{example}})
    AND is_held_out = (SELECT is_held_out FROM current_labels WHERE example_id = {{example}});
    DELETE FROM current_labels WHERE example_id = {{example}};
    INSERT INTO current_labels (example_id, event_id, label, is_held_out) {_CURRENT};
    INSERT INTO class_sizes (label, is_held_out, examples)
    SELECT label, is_held_out, 1 FROM current_labels WHERE example_id = {{example}}
    ON CONFLICT (label, is_held_out) DO UPDATE SET examples = class_sizes.examples + 1;"""
_POLLED = ("labels", "runs", "versions", "promotions", "activations")
_EVENTS = {"insert": "NEW", "update": "NEW", "delete": "OLD"}


def upgrade() -> None:
    for table, *columns in _INDEXES:
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
    is_of_prediction = sa.text("prediction_id IS NOT NULL")
    op.create_index(
        "ix_labels_of_predictions",
        "labels",
        ["id"],
        sqlite_where=is_of_prediction,
        postgresql_where=is_of_prediction,
    )
    op.create_table(
        "current_labels",
        sa.Column("example_id", _row_id, autoincrement=False, nullable=False),
        sa.Column("event_id", _row_id, nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("is_held_out", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("example_id", name=op.f("pk_current_labels")),
    )
    op.create_table(
        "class_sizes",
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("is_held_out", sa.Boolean(), nullable=False),
        sa.Column("examples", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("label", "is_held_out", name=op.f("pk_class_sizes")),
    )
    _count_all()
    _create_triggers()


def _count_all() -> None:
    op.execute(
        "INSERT INTO current_labels (example_id, event_id, label, is_held_out) "
        "SELECT e.id, l.id, l.label, e.is_held_out FROM labels l "
        "JOIN examples e ON e.id = l.example_id WHERE l.id IN ("
        "SELECT max(g.id) FROM labels g WHERE g.label IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM labels r WHERE r.retracts = g.id) GROUP BY g.example_id)"
    )
    op.execute(
        "INSERT INTO class_sizes (label, is_held_out, examples) "
        "SELECT label, is_held_out, count(*) FROM current_labels GROUP BY label, is_held_out"
    )


def _create_triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name, row in _EVENTS.items():
            refresh = _REFRESH.format(example=f"{row}.example_id")
            op.execute(f"CREATE TRIGGER labels_{name} AFTER {name} ON labels BEGIN {refresh} END")
        return
    refresh = _REFRESH.format(example="coalesce(NEW.example_id, OLD.example_id)")
    op.execute(
        "CREATE FUNCTION evergreen_refresh_label() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {refresh} RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER labels_change AFTER INSERT OR UPDATE OR DELETE ON labels "
        "FOR EACH ROW EXECUTE FUNCTION evergreen_refresh_label()"
    )
    # What every process polls: an idle one listens instead.
    op.execute(
        "CREATE FUNCTION evergreen_notify() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NOTIFY evergreen; RETURN NULL; END $$"
    )
    for table in _POLLED:
        op.execute(
            f"CREATE TRIGGER {table}_notify AFTER INSERT OR UPDATE OR DELETE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION evergreen_notify()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in _EVENTS:
            op.execute(f"DROP TRIGGER labels_{name}")
    else:
        op.execute("DROP TRIGGER labels_change ON labels")
        op.execute("DROP FUNCTION evergreen_refresh_label()")
        for table in _POLLED:
            op.execute(f"DROP TRIGGER {table}_notify ON {table}")
        op.execute("DROP FUNCTION evergreen_notify()")
    op.drop_table("class_sizes")
    op.drop_table("current_labels")
    op.drop_index("ix_labels_of_predictions", "labels")
    for table, *columns in _INDEXES:
        op.drop_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table)
