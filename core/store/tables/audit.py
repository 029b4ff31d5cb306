"""The table of what was done by whom. The database refuses to change or delete its rows, so that
no error of ours can (migration 0014)."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, String, Table

from core.store.tables.metadata import metadata, row_id

# What an erasure has to blank is not in it: no label, no image, no secret.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", String(100), nullable=False),
    # Null: nobody was asked for a key, or the command line or the service did it.
    Column("key_id", String(12)),
    # Null: no request did it.
    Column("request_id", String(64)),
    Column("action", String(40), nullable=False),
    # Such as `version 3`.
    Column("subject", String(300), nullable=False),
    Column("detail", JSON, nullable=False),
    # A cursor of a reader never sees an id again.
    sqlite_autoincrement=True,
)
Index("ix_audit_events_action_id", audit_events.c.action, audit_events.c.id)
Index("ix_audit_events_who_id", audit_events.c.who, audit_events.c.id)
