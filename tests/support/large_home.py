"""An old installation: many predictions, labels, runs and versions, inserted straight by SQL."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from core.models.pretrained import starter
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.store.store import Store

NUM_CLASSES = 10
_UUID = "'00000000-0000-7000-8000-' || substr(CAST(100000000000 + i AS VARCHAR), 1, 12)"
_DIGEST = "'" + "0" * 52 + "' || substr(CAST(100000000000 + i AS VARCHAR), 1, 12)"
_LABEL = f"'class ' || CAST(i % {NUM_CLASSES} AS VARCHAR)"


@dataclass(frozen=True, slots=True)
class Size:
    predictions: int
    examples: int
    runs: int
    versions: int

    @staticmethod
    def of(num_predictions: int) -> Size:
        return Size(
            num_predictions,
            max(20, num_predictions // 10),
            max(20, num_predictions // 10),
            max(10, num_predictions // 1000),
        )


def prediction_id(i: int) -> str:
    return f"00000000-0000-7000-8000-{100000000000 + i}"


def fill(store: Store, size: Size) -> None:
    """Version 1 is the starter, and the other versions are its copies.

    The champion is the newest version, and the one before it shadows every prediction. Each example
    is labelled by its prediction, and every tenth is labelled again. Finished runs have trained on
    the first tenth of the labels.
    """
    ensure_first_version(store, starter.NAME)
    numbers = {
        "p": size.predictions,
        "e": size.examples,
        "r": size.runs,
        "v": size.versions,
        "flat": b"\x80" * 72,
    }
    with store.db.read() as conn:
        first = versions.read_manifest(versions.get(conn, 1), store)
    # Only these two are loaded. The manifest of a version names its number.
    named = {
        number: versions.put_manifest(replace(first, version=number), store)
        for number in (size.versions - 1, size.versions)
    }
    with store.db.write() as conn:
        for columns, values, last in _ROWS:
            _insert(conn, columns, values, last, numbers)
        for statement in _AFTER:
            conn.execute(text(statement), numbers)
        for number, digest in named.items():
            of_number = "UPDATE versions SET manifest = :digest WHERE number = :number"
            conn.execute(text(of_number), {"digest": digest, "number": number})
        if conn.dialect.name == "postgresql":
            for table in ("examples", "labels", "promotions", "activations"):
                conn.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) "
                        f"FROM {table}"
                    )
                )
    _analyse(store)


def _insert(
    conn: Connection, columns: str, values: str, last: str, numbers: dict[str, object]
) -> None:
    used = {name: value for name, value in numbers.items() if f":{name}" in values + last}
    conn.execute(
        text(
            f"INSERT INTO {columns} WITH RECURSIVE n(i) AS "
            f"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT {values} FROM n"
        ),
        used,
    )


def _analyse(store: Store) -> None:
    """As PostgreSQL does by itself after a while."""
    if not store.db.is_sqlite:
        with store.db.execute_once() as conn:
            conn.execute(text("ANALYZE"))


_ROWS = (
    (
        "versions (number, run_id, parent, backbone, head, manifest, classes, snapshot, metrics, "
        "gate, created_at)",
        f"i + 1, {_UUID}, i, (SELECT backbone FROM versions WHERE number = 1), "
        "(SELECT head FROM versions WHERE number = 1), "
        "(SELECT manifest FROM versions WHERE number = 1), "
        "(SELECT classes FROM versions WHERE number = 1), "
        'i * :e / (10 * :v), \'{}\', \'{"promote": true, "reason": "better"}\', 1000.0 + i',
        ":v - 1",
    ),
    (
        "promotions (id, version, state, who, why, created_at)",
        "i + 1, i + 1, 'activated', CASE WHEN i % 100 = 0 THEN 'self-healing' ELSE 'trainer' END, "
        "'better', 1000.0 + i",
        ":v - 1",
    ),
    (
        "activations (id, version, promotion_id, activate_at, who, why, created_at, before_id)",
        "i + 1, i + 1, i + 1, 1000.0 + i, "
        "CASE WHEN i % 100 = 0 THEN 'self-healing' ELSE 'trainer' END, 'better', 1000.0 + i, i",
        ":v - 1",
    ),
    (
        "runs (id, trigger, tier, state, snapshot, parameters, step, progress, attempts, "
        "is_cancel_requested, outcome, version, created_at, started_at, finished_at)",
        f"{_UUID}, 'labels', CASE WHEN i = 1 THEN 'blocks' ELSE 'head' END, 'finished', "
        "i * :e / (10 * :r), '{\"num_trained\": 9}', 'finished', 1.0, 1, false, 'promoted', 1, "
        "i, i, i",
        ":r",
    ),
    (
        "predictions (id, image, version, label, confidence, margin, created_at)",
        f"{_UUID}, {_DIGEST}, :v, {_LABEL}, 0.9, 0.8, 1000000.0 + i",
        ":p",
    ),
    (
        "examples (image, num_bytes, width, height, source, is_held_out, group_id, thumb, band_0, "
        "band_1, band_2, band_3, created_at)",
        f"{_DIGEST}, 1, 1, 1, 'prediction', i % 5 = 0, {_DIGEST}, :flat, "
        "CASE WHEN i % 2 = 0 THEN 0 ELSE i % 65536 * 7919 % 65536 END, i % 65536 * 10473 % 65536, "
        "i % 65536 * 12997 % 65536, i % 65536 * 15485 % 65536, 2000000.0 + i",
        ":e",
    ),
    (
        "labels (example_id, label, who, prediction_id, created_at)",
        f"(SELECT min(id) FROM examples) + i - 1, {_LABEL}, 'ann', {_UUID}, 2000000.0 + i",
        ":e",
    ),
    (
        "shadow_answers (prediction_id, version, label)",
        f"{_UUID}, :v - 1, CASE WHEN i % 20 = 0 THEN 'class x' ELSE {_LABEL} END",
        ":p",
    ),
    (
        "shadow_tallies (version, champion, answers, agreements, last_at)",
        "i, i + 1, :p, :p - :p / 20, i",
        ":v - 1",
    ),
)
_AFTER = (
    # Every tenth is relabelled, and each of those in ten is retracted.
    "INSERT INTO labels (example_id, label, who, created_at) "
    "SELECT example_id, 'class 0', 'ann', 3000000.0 FROM labels WHERE id % 10 = 0 ORDER BY id",
    "INSERT INTO labels (example_id, retracts, who, created_at) SELECT example_id, id, 'ann', "
    "4000000.0 FROM labels WHERE created_at = 3000000.0 AND id % 10 = 0 ORDER BY id",
)
