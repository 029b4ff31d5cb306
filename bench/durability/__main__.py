"""Faults at random moments under load, with an oracle: nothing acknowledged is lost or doubled.

    python -m bench.durability [MINUTES] [--only SCENARIO ...] [--seed 0] [--json]

Each scenario runs for MINUTES on a new home with the small starter. Four clients predict, label,
correct predictions by their id and retract labels, and repeat what was not acknowledged. A fault
comes every few seconds. At the end the store is compared with what the clients were told, and the
server must train once more. `--list` names the scenarios. Disk full needs root and Linux, those of
PostgreSQL its server, and S3 needs moto.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.durability.clients import Clients
from bench.durability.ledger import Ledger, Verdict, check
from bench.durability.scenarios import MAY_NOT_KEEP_PREDICTIONS, SCENARIOS, Place
from bench.tables import show
from core.models.pretrained import starter
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store
from tests.support.server import Server, running
from tests.support.wait import wait_until

_CALM_S = (1.0, 5.0)
_DRAINED_WITHIN_S = 180.0
_TRAINED_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Row:
    scenario: str
    faults: int
    labels: int
    retractions: int
    lost: int
    doubled: int
    predictions: int
    not_kept: int
    refused: int
    longest_gap_s: float
    is_well: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("minutes", type=float, nargs="?", default=2.0, help="of each scenario")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print a line of JSON per scenario")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # stops the server too
    if options.list:
        print("\n".join(SCENARIOS))
        return
    rows = []
    for name in options.only:
        row = _run(name, options.minutes * 60, options.seed)
        rows.append(row)
        if options.json:
            print(json.dumps(asdict(row)), flush=True)
    if not options.json:
        _show(rows)
    if not all(row.is_well for row in rows):
        raise SystemExit("acknowledged work was lost or doubled, or the server did not recover")


def _run(name: str, seconds: float, seed: int) -> Row:
    chance, ledger = random.Random(f"{name} {seed}"), Ledger()
    with tempfile.TemporaryDirectory() as folder, SCENARIOS[name](Path(folder)) as place:
        settings = _settings(place)
        store = open_store(settings)
        ensure_first_version(store, starter.NAME)
        with running(place.home, **place.settings) as server:
            with Clients(server, ledger, seed).running():
                num_faults = _break_again_and_again(server, place, chance, seconds)
            problems = _recover(server, store)
            ledger.note_sides(store)
        verdict = check(ledger, store)
        store.db.close()
    return _row(name, num_faults, ledger, verdict, problems)


def _settings(place: Place) -> Settings:
    names = {"EVERGREEN_DATABASE_URL": "database_url", "EVERGREEN_BLOB_URL": "blob_url"}
    urls = {names[key]: value for key, value in place.settings.items() if key in names}
    return Settings.model_validate({"home": place.home, "device": "cpu", **urls})


def _break_again_and_again(
    server: Server, place: Place, chance: random.Random, seconds: float
) -> int:
    """Returns how often."""
    until = time.monotonic() + seconds
    num_faults = 0
    while time.monotonic() < until:
        time.sleep(chance.uniform(*_CALM_S))
        place.fault(server, chance)
        num_faults += 1
    return num_faults


def _recover(server: Server, store: Store) -> list[str]:
    """Wait until the spool is drained, and train once more. Returns what did not work."""
    problems = []
    spool = server.home / "spool"
    try:
        wait_until(lambda: not any(spool.glob("*-*")), _DRAINED_WITHIN_S, "the spool to be drained")
        answer = server.http.post("/v1/retrain").raise_for_status()
        run = answer.json()["id"]

        def is_finished() -> bool:
            return bool(server.http.get(f"/v1/runs/{run}").json()["state"] == "finished")

        wait_until(is_finished, _TRAINED_WITHIN_S, "a run to finish")
        server.status()
    except Exception as error:
        problems.append(repr(error))
    return problems


def _row(name: str, num_faults: int, ledger: Ledger, verdict: Verdict, problems: list[str]) -> Row:
    for what in (*verdict.lost, *verdict.doubled, *problems):
        print(f"{name}: {what}")
    print(f"{name}: answers {dict(sorted(ledger.answers.items()))}")
    refused = sum(
        count
        for what, count in ledger.answers.items()
        if what.startswith("predict") and what != "predict: 200"
    )
    is_kept = name in MAY_NOT_KEEP_PREDICTIONS or not verdict.num_predictions_not_kept
    return Row(
        name,
        num_faults,
        len(ledger.labels),
        len(ledger.retractions),
        len(verdict.lost),
        len(verdict.doubled),
        len(ledger.predictions),
        verdict.num_predictions_not_kept,
        refused,
        round(ledger.longest_gap_s, 2),
        not (verdict.lost or verdict.doubled or problems) and is_kept,
    )


def _show(rows: list[Row]) -> None:
    columns = ["scenario", "faults", "labels", "retracted", "lost", "doubled"]
    columns += ["answers", "not kept", "refused", "gap, s", "well"]
    cells = [[str(value) for value in asdict(row).values()] for row in rows]
    show("Faults at random moments", columns, cells, markdown=False)


if __name__ == "__main__":
    main()
