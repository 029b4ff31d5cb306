"""The check of the database: its schema, its integrity, and the embeddings that it caches."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, func, select

from core.doctor import degraded
from core.doctor.findings import Finding, fact
from core.errors import ArtifactError, MigrationNeeded, StoreError
from core.registry import versions, workers
from core.store.database import Database
from core.store.schema import REVISION, embeddings
from core.store.schema import versions as versions_table
from core.store.store import Store

_MOST_ROWS = 20
_BYTES_OF_NUMBER = 2


def check_schema(db: Database, *, repair: bool) -> Iterator[Finding]:
    """Of an older release, nothing else can be checked. Raises StoreError if it is of a newer."""
    revision = db.revision()
    if revision == REVISION or (revision is not None and revision > REVISION):
        db.ensure_schema()  # raises
        yield fact("database", f"schema {revision}, as this release makes it")
        return
    text = f"schema {revision}, and this release makes {REVISION}"
    repaired, remedy = "", "start the server, or use --repair"
    try:
        if repair:
            db.ensure_schema()
            repaired = "migrated"
    except MigrationNeeded as error:
        remedy = str(error)
    yield Finding("database", text, remedy, repaired=repaired)


def check_integrity(db: Database, *, reads: bool) -> Iterator[Finding]:
    """What SQLite finds in its file. PostgreSQL has checks of its own."""
    if not db.is_sqlite:
        yield fact("database", "PostgreSQL's files are not checked here; use amcheck")
        return
    pragma = "integrity_check" if reads else "quick_check"
    try:
        with db.read() as conn:
            rows = conn.exec_driver_sql(f"PRAGMA {pragma}({_MOST_ROWS})").scalars().all()
            orphans = conn.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MOST_ROWS)
    except StoreError as error:
        rows, orphans = [str(error)], []
    remedy = "restore the database from a backup"
    yield from (Finding("database", str(row), remedy) for row in rows if row != "ok")
    for table, row_id, parent, _ in orphans:
        yield Finding("database", f"row {row_id} of {table} names no row of {parent}", remedy)
    if list(rows) == ["ok"] and not orphans:
        yield fact("database", f"{pragma} and foreign_key_check find nothing")


def check_embeddings(store: Store, *, repair: bool) -> Iterator[Finding]:
    """Stored embeddings of another length than the backbone gives. They are computed again."""
    with store.db.read() as conn:
        sizes = dict(_embedding_sizes(conn, store))
        length = func.length(embeddings.c.vector)
        query = select(embeddings.c.backbone, length, func.count()).group_by(
            embeddings.c.backbone, length
        )
        wrong = [
            (backbone, num_bytes, number)
            for backbone, num_bytes, number in conn.execute(query)
            if backbone in sizes and num_bytes != sizes[backbone] * _BYTES_OF_NUMBER
        ]
    for backbone, num_bytes, number in wrong:
        repaired = ""
        if repair:
            with store.db.write() as conn:
                conn.execute(
                    delete(embeddings).where(embeddings.c.backbone == backbone, length == num_bytes)
                )
            repaired = "deleted; the next run computes them again"
        text = f"embeddings of backbone {backbone} with {num_bytes} bytes: {number:,}"
        yield Finding("embeddings", text, "use --repair", repaired=repaired)


def check_processes(db: Database) -> Iterator[Finding]:
    """Who lives, and what is degraded of that. Lost blobs are checked elsewhere."""
    now = db.clock()
    with db.read() as conn:
        num_serving = len(workers.live(conn, now, "serving"))
        num_trainers = len(workers.live(conn, now, "trainer"))
        found = degraded.read(conn, now)
    yield fact("processes", f"{num_serving} serving and {num_trainers} training are alive")
    for each in found:
        if not each.what.startswith("lost-"):
            yield Finding(each.what, each.reason, each.remedy)


def _embedding_sizes(conn: Connection, store: Store) -> Iterator[tuple[str, int]]:
    """The numbers of an embedding, by backbone."""
    backbones = conn.scalars(select(versions_table.c.backbone).distinct()).all()
    for backbone in backbones:
        version = versions.first_of_backbone(conn, backbone)
        if version is not None:
            try:
                manifest = versions.read_manifest(version, store)
            except (ArtifactError, StoreError):
                continue
            yield backbone, manifest.embedding_size
