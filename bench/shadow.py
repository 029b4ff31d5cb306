"""Latency of predictions with four shadows, compared with that without.

    python -m bench.shadow [--rounds 20] [--seconds 2] [--clients 1]

Two servers of one worker each get requests in turn. Their order alternates from round to round. A
pause after each turn lets a server finish its shadow answers before the other is measured. The
shadows are copies of version 1 with its 1,000 classes.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import open_store
from tests.support.server import Server, running
from tests.support.wait import wait_until

NUM_SHADOWS = 4
_PAUSE_S = 0.4

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        named = prepare(home / "shadowed")
        prepare(home / "alone")
        fixed = {"EVERGREEN_RUN_TRAINER": "false"}
        with (
            running(home / "alone", workers=1, **fixed) as alone,
            running(
                home / "shadowed", workers=1, **fixed, EVERGREEN_SHADOW_VERSIONS=named
            ) as shadowed,
        ):
            wait_until(lambda: num_ready(shadowed) == 1 + NUM_SHADOWS, 30, "the shadows")
            servers = (alone, shadowed)
            rounds = [
                measure(servers, i, options.seconds, options.clients)
                for i in range(-1, options.rounds)
            ][1:]  # the first round warms up
            num_answers = shadowed.http.get("/v1/versions/2").json()["shadow"]["answers"]
    report(rounds, options.clients, num_answers)


def prepare(home: Path) -> str:
    """Publish the shadows. Returns their numbers in the format of the setting."""
    store = open_store(Settings(home=home))
    ensure_first_version(store)
    with store.db.write() as conn:
        first = versions.read_manifest(versions.get(conn, 1), store)
        copies = [
            versions.publish(conn, store, replace(first, parent=1), {"promote": True}).version
            for _ in range(NUM_SHADOWS)
        ]
    store.db.close()
    return ",".join(map(str, copies))


def num_ready(server: Server) -> int:
    return len(server.status()["workers"][0]["ready"])


def measure(
    servers: tuple[Server, Server], turn: int, seconds: float, clients: int
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of every prediction of one round, by server."""
    latencies: tuple[list[float], list[float]] = ([], [])
    for k in (0, 1) if turn % 2 else (1, 0):
        with ThreadPoolExecutor(clients) as pool:
            for taken in pool.map(lambda _, k=k: predict_for(servers[k], seconds), range(clients)):
                latencies[k].extend(taken)
        time.sleep(_PAUSE_S)
    return latencies


def predict_for(server: Server, seconds: float) -> list[float]:
    image, taken = photo(), []
    with httpx.Client(timeout=30, headers={"Content-Type": "image/jpeg"}) as client:
        deadline = time.perf_counter() + seconds
        while (started := time.perf_counter()) < deadline:
            client.post(f"{server.url}/v1/predict", content=image).raise_for_status()
            taken.append((time.perf_counter() - started) * 1000)
    return taken


def photo() -> bytes:
    """Make a JPEG of 500 x 375 pixels, about as large as a photo of that size."""
    rough = np.random.default_rng(0).integers(0, 256, (38, 50, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rough).resize((500, 375)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def report(rounds: list[tuple[list[float], list[float]]], clients: int, num_answers: int) -> None:
    alone, shadowed = ([ms for latencies in rounds for ms in latencies[k]] for k in (0, 1))
    ratios = [statistics.median(b) / statistics.median(a) for a, b in rounds]
    table = Table(title=f"{NUM_SHADOWS} shadows, {clients} client(s), {len(rounds)} rounds")
    for name in ("", "predictions", "p50", "p95"):
        table.add_column(name, justify="right" if name else "left")
    for name, taken in (("without shadows", alone), (f"with {NUM_SHADOWS} shadows", shadowed)):
        p50, p95 = np.quantile(taken, [0.5, 0.95])
        table.add_row(name, f"{len(taken):,}", f"{p50:.2f} ms", f"{p95:.2f} ms")
    console.print(table)
    low, high = np.quantile(ratios, [0.25, 0.75])
    console.print(f"p50 with shadows / without: {np.median(shadowed) / np.median(alone):.3f}")
    console.print(f"by round: median {statistics.median(ratios):.3f}, half in {low:.3f}-{high:.3f}")
    console.print(f"Answers of each shadow, including warm-up: {num_answers:,}")


if __name__ == "__main__":
    main()
