"""The tables, with those of `core/store/tables`. A change needs a migration in
`core/store/migrations`.

Times are seconds since the epoch (UTC, float). Ids in URLs are UUIDv7 texts or plain integers.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from core.store.tables import access as access
from core.store.tables import audit as audit
from core.store.tables import retention as retention
from core.store.tables import review as review
from core.store.tables import tallies as tallies
from core.store.tables.clock import clock as clock
from core.store.tables.home import home as home
from core.store.tables.metadata import metadata as metadata
from core.store.tables.metadata import row_id

REVISION = "0016"

examples = Table(
    "examples",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("image", String(64), nullable=False, unique=True),
    Column("num_bytes", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("source", String(20), nullable=False),
    Column("is_held_out", Boolean, nullable=False),
    # The first example of a set of near-duplicates names the group.
    Column("group_id", String(64), nullable=False, index=True),
    Column("thumb", LargeBinary, nullable=False),
    Column("band_0", Integer, nullable=False, index=True),
    Column("band_1", Integer, nullable=False, index=True),
    Column("band_2", Integer, nullable=False, index=True),
    Column("band_3", Integer, nullable=False, index=True),
    Column("created_at", Float, nullable=False, index=True),
    Index("ix_examples_source_id", "source", "id"),
)

labels = Table(
    "labels",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("example_id", row_id, ForeignKey("examples.id"), nullable=False, index=True),
    # An event either gives a label or retracts an earlier event.
    Column("label", String(100)),
    Column("retracts", row_id, ForeignKey("labels.id"), unique=True),
    Column("who", String(100), nullable=False),
    Column("prediction_id", String(36), index=True),
    Column("idempotency_key", String(255), unique=True),
    Column("created_at", Float, nullable=False),
    # Of `label_batches`. Null: the event came alone.
    Column("batch_id", row_id),
    Index("ix_labels_label_id", "label", "id"),
    # An id is never used again: the snapshot of a run is the highest id that it saw.
    sqlite_autoincrement=True,
)
Index(
    "ix_labels_of_predictions",
    labels.c.id,
    sqlite_where=labels.c.prediction_id.is_not(None),
    postgresql_where=labels.c.prediction_id.is_not(None),
)
Index(
    "ix_labels_of_batches",
    labels.c.batch_id,
    labels.c.id,
    sqlite_where=labels.c.batch_id.is_not(None),
    postgresql_where=labels.c.batch_id.is_not(None),
)

# Each class that was ever labelled. `core/class_names.py` defines the identity of a name.
classes = Table(
    "classes",
    metadata,
    Column("identity", Text, primary_key=True),
    # The display form: the first spelling given.
    Column("name", String(100), nullable=False),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("image", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("label", String(100), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("created_at", Float, nullable=False, index=True),
    # Null: the version could not say, or an older release predicted.
    Column("unfamiliar", Boolean),
    # Size of the image, while the sweeper has it to delete some day; 0: an older release kept it,
    # and its size is unknown. Null: it was not kept, was swept, or became an example.
    Column("kept_bytes", Integer, server_default="0"),
    # Why the image was kept or not (`core/retention/capture.py`). Null: an older release kept it.
    Column("capture", String(20)),
    # Its direction, as int8 [D], by the backbone of its version. Null: the image is not kept, or an
    # older release predicted.
    Column("embedding", LargeBinary),
)
# The images to sweep, oldest first.
Index(
    "ix_predictions_kept",
    predictions.c.created_at,
    sqlite_where=predictions.c.kept_bytes.is_not(None),
    postgresql_where=predictions.c.kept_bytes.is_not(None),
)

# Answers of shadows. A row may be written a moment after the prediction's.
shadow_answers = Table(
    "shadow_answers",
    metadata,
    Column("prediction_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("label", String(100), nullable=False),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("example_id", row_id, ForeignKey("examples.id"), primary_key=True),
    Column("backbone", String(64), primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("trigger", String(20), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("snapshot", row_id),
    Column("parameters", JSON, nullable=False),
    Column("step", String(40), nullable=False),
    Column("progress", Float, nullable=False),
    Column("owner", String(36)),
    Column("heartbeat_at", Float),
    Column("attempts", Integer, nullable=False),
    Column("is_cancel_requested", Boolean, nullable=False),
    Column("outcome", String(20)),
    Column("version", Integer),
    Column("reason", Text),
    Column("error", Text),
    Column("created_at", Float, nullable=False, index=True),
    Column("started_at", Float),
    Column("finished_at", Float, index=True),
    Index("ix_runs_state_snapshot", "state", "snapshot"),
    Index("ix_runs_tier_finished_at", "tier", "finished_at"),
)
# The database itself coalesces requests: of each tier at most one run waits and one runs.
Index(
    "uq_runs_unfinished",
    runs.c.tier,
    runs.c.state,
    unique=True,
    sqlite_where=text("state IN ('waiting', 'running')"),
    postgresql_where=text("state IN ('waiting', 'running')"),
)

versions = Table(
    "versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String(36), unique=True),
    Column("parent", Integer),
    Column("backbone", String(64), nullable=False, index=True),
    Column("head", String(64), nullable=False),
    Column("manifest", String(64), nullable=False),
    Column("classes", JSON, nullable=False),
    Column("snapshot", row_id, nullable=False, index=True),
    Column("metrics", JSON, nullable=False),
    Column("gate", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    # From then on its files may be gone, and it cannot be promoted. Null: it can.
    Column("retired_at", Float),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("version", Integer, ForeignKey("versions.number"), nullable=False, index=True),
    Column("state", String(20), nullable=False, index=True),
    Column("who", String(100), nullable=False),
    Column("why", Text, nullable=False),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    sqlite_autoincrement=True,
)

activations = Table(
    "activations",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("version", Integer, ForeignKey("versions.number"), nullable=False, index=True),
    # One activation for a promotion, whichever worker writes it.
    Column("promotion_id", row_id, ForeignKey("promotions.id"), nullable=False, unique=True),
    Column("activate_at", Float, nullable=False),
    Column("who", String(100), nullable=False, index=True),
    Column("why", Text, nullable=False),
    Column("created_at", Float, nullable=False, index=True),
    # The activation that a rollback from this one returns to.
    Column("before_id", row_id),
    sqlite_autoincrement=True,
)

# Named by a row, and found missing or damaged. It may be deleted: they are found again.
lost_blobs = Table(
    "lost_blobs",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("problem", String(20), nullable=False),
    Column("found_at", Float, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("provider", String(40), nullable=False),
    Column("version", Integer),
    Column("ready", JSON, nullable=False),
    Column("failed", JSON, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    # Where the pid counts. Null: an older release wrote the row.
    Column("pid_space", String(300)),
)
