"""Alembic's entry point; `core.store.database` hands over the connection."""

from __future__ import annotations

from alembic import context

from core.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller holds the transaction
)
context.run_migrations()
