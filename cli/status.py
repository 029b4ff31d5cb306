"""`evergreen status`: the state of the installation, read from the database alone."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli import home
from cli.console import as_json, iso, print_json
from core import runs
from core.labelling import labels
from core.labelling.census import Census, take_census
from core.registry import promotions, versions, workers
from core.registry.promotions import Activation, Promotion
from core.registry.versions import Version
from core.registry.workers import Worker
from core.runs import Run
from core.settings import Settings, load_settings
from core.store.store import Store


@dataclass(frozen=True, slots=True)
class Status:
    home: str
    champion: Version | None
    activation: Activation | None
    promotion: Promotion | None
    serving: list[Worker]
    trainers: list[Worker]
    census: Census
    held_out: Counter[str]
    num_waiting: int
    oldest_waiting: float | None
    unfinished: list[Run]
    last_run: Run | None


def status(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what answers, who works, what waits."""
    settings = load_settings()
    with home.opened_existing(settings) as store:
        found = read_status(settings, store, time.time())
    if json:
        print_json(_as_json(found))
        return
    from cli.status_tables import print_status

    print_status(found)


def read_status(settings: Settings, store: Store, now: float) -> Status:
    """All of one moment."""
    with store.db.read() as conn:
        live = promotions.newest_activation(conn)
        current = labels.current(conn)
        num_waiting, oldest, _ = labels.count_after(conn, runs.newest_snapshot(conn))
        return Status(
            home=str(settings.home.absolute()),
            champion=versions.get(conn, live.version) if live else None,
            activation=live,
            promotion=promotions.pending(conn),
            serving=workers.live(conn, now, "serving"),
            trainers=workers.live(conn, now, "trainer"),
            census=take_census(current),
            held_out=Counter(row.label for row in current if row.is_held_out),
            num_waiting=num_waiting,
            oldest_waiting=oldest,
            unfinished=list(runs.unfinished(conn)),
            last_run=runs.last_of(conn),
        )


def _as_json(found: Status) -> dict[str, Any]:
    live, version = found.activation, found.champion
    return {
        "home": found.home,
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
        "promotion_waiting": found.promotion.version if found.promotion else None,
        "workers": [as_json(worker) for worker in found.serving],
        "trainers": [as_json(worker) for worker in found.trainers],
        "labels": {
            "waiting": found.num_waiting,
            "oldest_waiting": iso(found.oldest_waiting),
            "examples": found.census.num_trained,
            "held_out": dict(sorted(found.held_out.items())),
            "is_enough": found.census.is_enough,
        },
        "runs": [as_json(run) for run in found.unfinished],
        "last_run": as_json(found.last_run) if found.last_run else None,
    }
