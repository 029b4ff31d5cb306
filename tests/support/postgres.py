"""A private PostgreSQL server for one test process, and a new database for each test.

`EVERGREEN_TEST_POSTGRES_URL` names a server to use instead; its user must be allowed to create
databases.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, make_url, text

from tests.support.external_programs import require

OVERRIDE = "EVERGREEN_TEST_POSTGRES_URL"
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_START_WITHIN_S = 30.0
# Nothing here has to be durable.
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SETTINGS = (*_NOT_DURABLE, "listen_addresses=", "max_connections=60", "shared_buffers=16MB")
_NEW_CLUSTER = ("-U", "evergreen", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
# The server ends when its standard input closes, so also when the tests are killed.
_FOLLOW = '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"'

_count = itertools.count()


class Server:
    def __init__(self, url: URL) -> None:
        self._url = url

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new copy of the template, which is dropped at the end."""
        name = f"evergreen_{os.getpid()}_{next(_count)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self._url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextlib.contextmanager
    def refusing(self, url: str) -> Iterator[None]:
        """Meanwhile nobody can connect to the database of this URL, as if it were stopped."""
        name = make_url(url).database
        self._run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self._run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        try:
            yield
        finally:
            self._run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    @contextlib.contextmanager
    def frozen(self, url: str) -> Iterator[None]:
        """Meanwhile the server and the processes that serve this database do not run (Linux)."""
        name = make_url(url).database
        engine = create_engine(self._url)
        with engine.connect() as conn:
            query = text("SELECT pid FROM pg_stat_activity WHERE datname = :name")
            pids = list(conn.scalars(query, {"name": name}))
            own = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
            stat = Path(f"/proc/{own}/stat").read_text()
            pids.insert(0, int(stat.rpartition(")")[2].split()[1]))
        engine.dispose()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def is_up(self) -> bool:
        try:
            self._run("SELECT 1")
        except Exception:  # each driver raises its own, and others while the server starts
            return False
        return True

    def _run(self, statement: str) -> None:
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as conn:
                conn.execute(text(statement))
        finally:
            engine.dispose()


@contextlib.contextmanager
def server(override: str | None) -> Iterator[Server]:
    if override:
        yield Server(make_url(override))
        return
    # On the path it may be a link. The server is beside the file that it points to.
    initdb = require("initdb", places=_PLACES).resolve()
    # The path of a socket may have about 100 characters only.
    home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        account = unprivileged(home)
        subprocess.run(
            [initdb, "-D", home / "data", *_NEW_CLUSTER],
            check=True,
            capture_output=True,
            cwd=home,
            **account,
        )
        with _running(initdb.with_name("postgres"), home, account) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _running(postgres: Path, home: Path, account: dict[str, Any]) -> Iterator[Server]:
    options = [part for setting in _SETTINGS for part in ("-c", setting)]
    command = [str(postgres), "-D", str(home / "data"), "-k", str(home), *options]
    with (home / "log").open("wb") as log:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _FOLLOW, "follow", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=home,
            **account,
        )
    assert child.stdin is not None
    try:
        url = URL.create(
            "postgresql+psycopg", "evergreen", database="postgres", query={"host": str(home)}
        )
        yield _when_up(Server(url), child, home / "log")
    finally:
        child.stdin.close()
        child.wait(timeout=_START_WITHIN_S)


def _when_up(started: Server, child: subprocess.Popen[bytes], log: Path) -> Server:
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline and child.poll() is None:
        if started.is_up():
            return started
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")


def unprivileged(home: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root. An unprivileged account runs it then."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(home, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
