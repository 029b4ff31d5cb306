"""The state of an installation, read from the database alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from core import runs
from core.class_names import is_class
from core.doctor import degraded
from core.doctor.degraded import Degraded
from core.inputs.kind import InputKind
from core.labelling import labels
from core.labelling.census import Census, read_census
from core.registry import promotions, versions, workers
from core.registry.promotions import Activation, Promotion
from core.registry.versions import Version
from core.registry.workers import Worker
from core.runs import Run
from core.settings import Settings
from core.store.store import Store


@dataclass(frozen=True, slots=True)
class Status:
    home: str
    kind: InputKind
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
    degraded: list[Degraded]


def read_status(settings: Settings, store: Store, now: float) -> Status:
    """Read all fields in one transaction, so that they agree."""
    with store.db.read() as conn:
        live = promotions.newest_activation(conn)
        held_out = {
            name: num
            for name, is_held_out, num in labels.count_current(conn)
            if is_held_out and is_class(name)
        }
        num_waiting, oldest, _ = labels.count_after(conn, runs.newest_snapshot(conn))
        return Status(
            home=str(settings.home.absolute()),
            kind=store.kind,
            champion=versions.get(conn, live.version) if live else None,
            activation=live,
            promotion=promotions.pending(conn),
            serving=workers.live(conn, now, "serving"),
            trainers=workers.live(conn, now, "trainer"),
            census=read_census(conn),
            held_out=Counter(held_out),
            num_waiting=num_waiting,
            oldest_waiting=oldest,
            unfinished=list(runs.unfinished(conn)),
            last_run=runs.last_of(conn),
            degraded=[*degraded.read(conn, now), *degraded.of_disk(store.disk)],
        )
