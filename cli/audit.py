"""`evergreen audit`: who did what."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer
from rich.text import Text

from cli import home
from cli.console import as_json, err, iso, moment, out, print_json, table
from core import audit
from core.access.quotas import parse_lifetime
from core.audit import AuditEvent
from core.settings import load_settings


def list_events(
    action: Annotated[str | None, typer.Option(help="Only this action: label.given, ...")] = None,
    who: Annotated[
        str | None, typer.Option(help="Only what this key, user or service did.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only of the last 90m, 12h, 7d.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 50,
    before: Annotated[
        int | None, typer.Option(min=0, metavar="ID", help="Only events below this id.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who did what, newest first.

    Each change is in it, and each read of examples and models. Predictions are not.
    """
    with home.opened_existing(load_settings()) as store, store.db.read() as conn:
        start = 0.0 if since is None else store.db.clock() - parse_lifetime(since)
        found = audit.listing(conn, limit=limit, before=before, action=action, who=who, since=start)
    if json:
        print_json([as_json(event) | {"at": iso(event.at)} for event in found])
        return
    if not found:
        out.print("Nothing.")
        return
    _print(found)
    if len(found) == limit:
        err.print(f"Only {limit:,} are listed; --before {found[-1].id} lists the next ones.")


def _print(found: list[AuditEvent]) -> None:
    shown = table("Id", "At", "Who", "Action", "Of", "Detail", right=("Id",))
    for event in found:
        who = event.who if event.key_id is None else f"{event.who} ({event.key_id})"
        detail = ", ".join(f"{k} {json_format.dumps(v)}" for k, v in event.detail.items())
        action = Text(event.action, no_wrap=True)
        shown.add_row(str(event.id), moment(event.at), who, action, event.subject, detail)
    out.print(shown)
