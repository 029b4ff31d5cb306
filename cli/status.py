"""`evergreen status`: the state of the installation, as tables or as JSON."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import home
from cli.console import as_json, iso, print_json
from cli.status_record import Status, read_status
from cli.status_tables import print_status
from core.settings import load_settings


def status(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the champion, the processes, the labels and the runs."""
    settings = load_settings()
    with home.opened_existing(settings) as store:
        record = read_status(settings, store, store.db.clock())
    if json:
        print_json(_as_json(record))
        return
    print_status(record)


def _as_json(record: Status) -> dict[str, Any]:
    live, version = record.activation, record.champion
    return {
        "home": record.home,
        "input": record.kind.name,
        "champion": live
        and version
        and {
            "version": live.version,
            "classes": list(version.classes),
            "precision": version.metrics.get("precision", "float32"),
            "activated_at": iso(live.activate_at),
            "who": live.who,
            "why": live.why,
        },
        "promotion_waiting": record.promotion.version if record.promotion else None,
        "workers": [as_json(worker) for worker in record.serving],
        "trainers": [as_json(worker) for worker in record.trainers],
        "labels": {
            "waiting": record.num_waiting,
            "oldest_waiting": iso(record.oldest_waiting),
            "examples": record.census.num_trained,
            "held_out": dict(sorted(record.held_out.items())),
            "is_enough": record.census.is_enough,
        },
        "degraded": [{**as_json(each), "since": iso(each.since)} for each in record.degraded],
        "runs": [as_json(run) for run in record.unfinished],
        "last_run": as_json(record.last_run) if record.last_run else None,
    }
