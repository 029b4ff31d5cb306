"""The tables. A change needs a migration in `core/store/migrations`.

Times are seconds since the epoch (UTC, float). Ids in URLs are UUIDv7 texts or plain integers.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

REVISION = "0011"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of type INTEGER.
_row_id = BigInteger().with_variant(Integer, "sqlite")

examples = Table(
    "examples",
    metadata,
    Column("id", _row_id, primary_key=True),
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
    Column("created_at", Float, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("example_id", _row_id, ForeignKey("examples.id"), nullable=False, index=True),
    # An event either gives a label or retracts an earlier event.
    Column("label", String(100)),
    Column("retracts", _row_id, ForeignKey("labels.id"), unique=True),
    Column("who", String(100), nullable=False),
    Column("prediction_id", String(36)),
    Column("idempotency_key", String(255), unique=True),
    Column("created_at", Float, nullable=False),
    # An id is never used again: the snapshot of a run is the highest id that it saw.
    sqlite_autoincrement=True,
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
)

# Answers of shadows. A row may be written a moment after the prediction's.
shadow_answers = Table(
    "shadow_answers",
    metadata,
    Column("prediction_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("label", String(100), nullable=False),
)

# Counted when answers are written: counting millions of them later would take seconds.
shadow_tallies = Table(
    "shadow_tallies",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("champion", Integer, primary_key=True, autoincrement=False),
    Column("answers", BigInteger, nullable=False),
    Column("agreements", BigInteger, nullable=False),
    Column("last_at", Float, nullable=False),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("example_id", _row_id, ForeignKey("examples.id"), primary_key=True),
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
    Column("snapshot", _row_id),
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

# Counted as runs end: the metrics would read every run at each scrape. A row is a bucket of the
# histogram of durations: runs that took `at_most_s`, and longer than the bucket before it.
run_tallies = Table(
    "run_tallies",
    metadata,
    Column("outcome", String(20), primary_key=True),
    Column("at_most_s", Float, primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String(36), unique=True),
    Column("parent", Integer),
    Column("backbone", String(64), nullable=False),
    Column("head", String(64), nullable=False),
    Column("manifest", String(64), nullable=False),
    Column("classes", JSON, nullable=False),
    Column("snapshot", _row_id, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("gate", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("version", Integer, ForeignKey("versions.number"), nullable=False),
    Column("state", String(20), nullable=False),
    Column("who", String(100), nullable=False),
    Column("why", Text, nullable=False),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    sqlite_autoincrement=True,
)

activations = Table(
    "activations",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("version", Integer, ForeignKey("versions.number"), nullable=False),
    # One activation for a promotion, whichever worker writes it.
    Column("promotion_id", _row_id, ForeignKey("promotions.id"), nullable=False, unique=True),
    Column("activate_at", Float, nullable=False),
    Column("who", String(100), nullable=False),
    Column("why", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    # The activation that a rollback from this one returns to.
    Column("before_id", _row_id),
    sqlite_autoincrement=True,
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
)

# Rows are never deleted, and a revocation is never taken back (`core/access/key_ring.py`).
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),
    # sha256 of the whole key.
    Column("digest", String(64), nullable=False),
    Column("name", String(100), nullable=False, index=True),
    Column("role", String(20), nullable=False),
    Column("request_quota", String(60)),
    Column("byte_quota", String(60)),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("last_used_at", Float),
    Column("revoked_at", Float),
)
