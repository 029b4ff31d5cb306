"""Does a server that works steadily level off? Files, threads, memory, disk and latency.

    python -m bench.soak [MINUTES] [--predictions 20] [--labels 0.5] [--every 30] [--json]

Predictions and labels come at these rates a second, each label starts a run, and every 20 s the
champion is rolled back. A figure levels off if the slope of its second half may be none (95 %
interval), or is less than 5 % an hour. The database and the blobs hold what was sent, so they grow
with the load. The home is new, with the small starter.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.load_results import percentile
from bench.soak.load import Load
from bench.soak.samples import Sample, Trend, take, trend
from bench.tables import show
from core.models.pretrained import starter
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import open_store
from tests.support.server import Server, running

_SWAPS = 1 / 20
_GROWS_WITH_THE_LOAD = ("disk: evergreen.db, MiB", "disk: blobs, MiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    parser.add_argument("--predictions", type=float, default=20.0, help="a second")
    parser.add_argument("--labels", type=float, default=0.5, help="a second")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between samples")
    parser.add_argument("--json", action="store_true", help="print a line of JSON per figure")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # stops the server too
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        store = open_store(Settings(home=home, device="cpu"))
        ensure_first_version(store, starter.NAME)
        store.db.close()
        with running(home) as server:
            load = Load(server)
            with load.running(options.predictions, options.labels, _SWAPS):
                minutes, samples = _sample(server, load, options.minutes, options.every)
            newest = server.http.get("/v1/versions?limit=1").json()["versions"][0]["version"]
    trends = {
        name: trend(minutes, [sample.get(name, 0.0) for sample in samples])
        for name in sorted(samples[-1])
    }
    _print(trends, as_json=options.json)
    print(f"{dict(sorted(load.counts.items()))}, {newest} versions")


def _sample(
    server: Server, load: Load, minutes: float, every_s: float
) -> tuple[list[float], list[Sample]]:
    """Returns the moments, in minutes since the start, and what was found."""
    began = time.monotonic()
    moments: list[float] = []
    samples: list[Sample] = []
    while (elapsed_s := time.monotonic() - began) < minutes * 60:
        time.sleep(min(every_s, minutes * 60 - elapsed_s))
        sample = take(server.home)
        latencies_s = load.take_latencies()
        for q in (0.5, 0.99):
            sample[f"latency: p{100 * q:.0f}, ms"] = 1000 * percentile(latencies_s, q)
        moments.append((time.monotonic() - began) / 60)
        samples.append(sample)
    return moments, samples


def _print(trends: dict[str, Trend], *, as_json: bool) -> None:
    if as_json:
        for name, found in trends.items():
            print(json.dumps({"figure": name, "levels": _verdict(name, found), **asdict(found)}))
        return
    columns = ["figure", "first", "last", "an hour", "levels off"]
    rows = [
        [
            name,
            f"{found.first:.1f}",
            f"{found.last:.1f}",
            f"{found.per_hour:+.1f} ± {found.margin:.1f}",
            _verdict(name, found),
        ]
        for name, found in trends.items()
    ]
    show("A steady load", columns, rows, markdown=False)


def _verdict(name: str, found: Trend) -> str:
    if name in _GROWS_WITH_THE_LOAD:
        return "with the load"
    return "yes" if found.levels_off else "no"


if __name__ == "__main__":
    main()
