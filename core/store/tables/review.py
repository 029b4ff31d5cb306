"""The tables of review: batches of labels, what was shown to whom, analyses and imports."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from core.store.tables.metadata import metadata, row_id

# Label events that were written together, and can be undone as one.
label_batches = Table(
    "label_batches",
    metadata,
    Column("id", row_id, primary_key=True),
    # `feedback`, `rename`, `merge`, `delete` or `import`.
    Column("kind", String(20), nullable=False),
    Column("who", String(100), nullable=False),
    # Such as the names of the classes. An erasure finds nothing of an image here.
    Column("detail", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("undone_at", Float),
    sqlite_autoincrement=True,
)

# What a reviewer was shown a moment ago, and so nobody else is shown. Rows may be deleted.
reservations = Table(
    "reservations",
    metadata,
    # `prediction <id>` or `example <id>`.
    Column("item", String(60), primary_key=True),
    Column("reviewer", String(100), nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)

# What the trainer found out about the examples after a run. Rows and their blobs may be deleted:
# the next analysis makes them again.
analyses = Table(
    "analyses",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    # The newest label event among the examples.
    Column("snapshot", row_id, nullable=False),
    Column("summary", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

# Uploaded archives of labelled images.
imports = Table(
    "imports",
    metadata,
    Column("id", String(36), primary_key=True),
    # `waiting`, `running`, `finished`, `failed` or `cancelled`.
    Column("state", String(20), nullable=False),
    Column("name", String(300), nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("who", String(100), nullable=False),
    Column("key_id", String(12)),
    # The machine that has the file.
    Column("host", String(255), nullable=False),
    Column("owner", String(36)),
    Column("heartbeat_at", Float),
    Column("position", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("batch_id", row_id),
    # Counts by what became of the files, and the first of each kind of problem.
    Column("report", JSON, nullable=False),
    # Which columns have the texts and the labels; null: an older release started it.
    Column("options", JSON),
    Column("is_cancel_requested", Boolean, nullable=False),
    Column("error", Text),
    Column("created_at", Float, nullable=False, index=True),
    Column("finished_at", Float),
)
# Those that wait or run.
Index(
    "ix_imports_unfinished",
    imports.c.created_at,
    sqlite_where=imports.c.finished_at.is_(None),
    postgresql_where=imports.c.finished_at.is_(None),
)
