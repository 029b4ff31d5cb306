"""The tables of what is counted as it is written: to count millions of rows later takes seconds.

`core/store/schema.py` has the other tables.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table

from core.store.tables.metadata import metadata, row_id

# By version that shadows and version that was champion.
shadow_tallies = Table(
    "shadow_tallies",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("champion", Integer, primary_key=True, autoincrement=False, index=True),
    Column("answers", BigInteger, nullable=False),
    Column("agreements", BigInteger, nullable=False),
    Column("last_at", Float, nullable=False),
)

# A row is a bucket of the histogram of durations: ended runs that took `at_most_s`, and longer than
# the bucket before it.
run_tallies = Table(
    "run_tallies",
    metadata,
    Column("outcome", String(20), primary_key=True),
    Column("at_most_s", Float, primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
)

# The newest label event of each example that is not retracted. Triggers of the database keep this
# table and the next right, so that no writer of labels can forget to (migration 0009).
current_labels = Table(
    "current_labels",
    metadata,
    Column("example_id", row_id, primary_key=True, autoincrement=False),
    Column("event_id", row_id, nullable=False),
    Column("label", String(100), nullable=False),
    Column("is_held_out", Boolean, nullable=False),
    Index("ix_current_labels_label_is_held_out_example_id", "label", "is_held_out", "example_id"),
)

# How many examples have the label now. Rows of 0 stay.
class_sizes = Table(
    "class_sizes",
    metadata,
    Column("label", String(100), primary_key=True),
    Column("is_held_out", Boolean, primary_key=True),
    Column("examples", BigInteger, nullable=False),
)

# A copy of all tables fills these last, because the triggers write them meanwhile.
KEPT_BY_TRIGGERS = (current_labels, class_sizes)
