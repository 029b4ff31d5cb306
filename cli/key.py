"""`evergreen key`: make, list and revoke the keys of clients."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import ago, as_json, err, moment, out, print_json, table
from core.access import keys, quotas
from core.access.keys import Key
from core.access.roles import parse_role
from core.settings import load_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and revoke keys.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what will use it.")],
    role: Annotated[
        str,
        typer.Option(help="What it may do: predict, label, train or admin, each with all before."),
    ] = "predict",
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it works, such as 90d.")
    ] = None,
    requests: Annotated[
        str | None, typer.Option(metavar="QUOTA", help="Most requests, such as 100/minute.")
    ] = None,
    num_bytes: Annotated[
        str | None,
        typer.Option("--bytes", metavar="QUOTA", help="Most bytes sent, such as 1GB/day."),
    ] = None,
) -> None:
    """Make a key, and print it. It cannot be printed again.

    A quota holds in each serving process.
    """
    wanted = parse_role(role)
    lifetime_s = None if expires is None else quotas.parse_lifetime(expires)
    if requests is not None:
        quotas.parse_requests(requests)
    if num_bytes is not None:
        quotas.parse_bytes(num_bytes)
    with home.opened(load_settings()) as store, store.db.write() as conn:
        now = store.db.clock()
        expires_at = None if lifetime_s is None else now + lifetime_s
        row, key = keys.add(
            conn,
            name,
            wanted,
            now=now,
            expires_at=expires_at,
            request_quota=requests,
            byte_quota=num_bytes,
            by=actor(),
        )
    until = "" if expires_at is None else f" until {moment(expires_at)}"
    err.print(
        f"Key {row.id} of {name!r} may {wanted.word}{until}. Keep it: it is not shown again.",
        soft_wrap=True,
    )
    print(key)


@app.command("list")
def listing(
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON, without digests.")] = False,
) -> None:
    """List the keys, those that no longer work among them."""
    with home.opened_existing(load_settings()) as store, store.db.read() as conn:
        rows = keys.listing(conn)
    if is_json:
        print_json([_without_digest(row) for row in rows])
        return
    if not rows:
        out.print("There are no keys. `evergreen key add NAME` makes one.")
        return
    shown = table("id", "name", "role", "made", "state", "last used", "quota")
    for row in rows:
        used = "never" if row.last_used_at is None else ago(row.last_used_at)
        quota = ", ".join(each for each in (row.request_quota, row.byte_quota) if each) or "–"
        shown.add_row(
            row.id, row.name, row.role.word, moment(row.created_at), _state(row), used, quota
        )
    out.print(shown)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="NAME|ID", help="The name or the id of the key.")],
) -> None:
    """Revoke a key. It stops working within a second, wherever the service runs."""
    with home.opened_existing(load_settings()) as store, store.db.write() as conn:
        revoked = keys.revoke(conn, key, store.db.clock(), actor())
    for row in revoked:
        out.print(f"Key {row.id} of {row.name!r} is revoked.", soft_wrap=True)


def _without_digest(row: Key) -> dict[str, object]:
    fields = as_json(row) | {"role": row.role.word}
    del fields["digest"]
    return fields


def _state(row: Key) -> str:
    if row.revoked_at is not None:
        return f"revoked {ago(row.revoked_at)}"
    if not row.is_usable(time.time()):
        return "expired"
    return "in force" if row.expires_at is None else f"until {moment(row.expires_at)}"
