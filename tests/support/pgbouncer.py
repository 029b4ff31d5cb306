"""PgBouncer before a PostgreSQL database, in transaction mode: clients share a few sessions."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from core.errors import StoreError
from core.store.database import Database
from tests.support import postgres
from tests.support.external_programs import require
from tests.support.wait import wait_until

NUM_SESSIONS = 3
# Debian has it where only root looks.
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/opt/pgbouncer/bin")


@contextlib.contextmanager
def before(url: str) -> Iterator[str]:
    """The URL of the same database, through PgBouncer."""
    program = require("pgbouncer", places=_PLACES)
    direct = make_url(url)
    host = direct.query.get("host", direct.host)
    secret = f" password={direct.password}" if direct.password else ""
    # The path of a socket may have about 100 characters only.
    home = Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))
    try:
        account = postgres.unprivileged(home)
        (home / "ini").write_text(
            f"""\
[databases]
{direct.database} = host={host} port={direct.port or 5432} user={direct.username}{secret}
[pgbouncer]
pool_mode = transaction
default_pool_size = {NUM_SESSIONS}
auth_type = any
listen_port = 6432
unix_socket_dir = {home}
logfile = {home}/log
"""
        )
        child = subprocess.Popen(
            [program, home / "ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            **account,
        )
        try:
            pooled = direct.set(host=None, port=None, query={"host": str(home), "port": "6432"})
            pooled_url = pooled.render_as_string(hide_password=False)
            wait_until(lambda: _is_up(pooled_url), 10, f"PgBouncer; see {home}/log")
            yield pooled_url
        finally:
            child.terminate()
            child.wait(10)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _is_up(url: str) -> bool:
    db = Database(url)
    try:
        with db.read() as conn:
            conn.exec_driver_sql("SELECT 1")
    except StoreError:
        return False
    finally:
        db.close()
    return True
