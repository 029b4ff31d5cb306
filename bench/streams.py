"""What open streams of the status cost: python -m bench.streams [--streams 100] [--rounds 3]

CPU time of the process that serves them, without and with them, while nothing happens and during
predictions at a constant rate. Rounds without and with streams alternate.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.load_results import percentile
from bench.shadow import photo
from bench.tables import show
from tests.support.server import Server, running

_TICKS = os.sysconf("SC_CLK_TCK")
_REQUEST = b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each round")
    parser.add_argument("--rate", type=float, default=10.0, help="predictions a second")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    idle: dict[int, list[float]] = {0: [], options.streams: []}
    busy: dict[int, list[float]] = {0: [], options.streams: []}
    latencies: dict[int, list[float]] = {0: [], options.streams: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), workers=1, EVERGREEN_RUN_TRAINER="false") as server,
    ):
        pid = server.status()["answered_by"]
        predict_for(server, 2.0, options.rate)
        for _ in range(options.rounds):
            for number in idle:
                with streams(server, number):
                    time.sleep(3.0)  # what the first of them has to read
                    idle[number].append(share_of_a_core(pid, options.seconds))
                    before, began = cpu_s(pid), time.monotonic()
                    latencies[number] += predict_for(server, options.seconds, options.rate)
                    busy[number].append((cpu_s(pid) - before) / (time.monotonic() - began))
    rows = [
        (
            f"{number} streams",
            ", ".join(f"{100 * each:.2f} %" for each in idle[number]),
            ", ".join(f"{100 * each:.1f} %" for each in busy[number]),
            *(f"{1000 * percentile(sorted(latencies[number]), p):.1f} ms" for p in (0.5, 0.99)),
        )
        for number in idle
    ]
    columns = ("", "CPU idle", f"CPU at {options.rate:.0f} predictions/s", "p50", "p99")
    show("Of one process", columns, rows, markdown=options.markdown)


@contextlib.contextmanager
def streams(server: Server, number: int) -> Iterator[None]:
    """Open streams, and read of each what comes within the first second."""
    with contextlib.ExitStack() as opened:
        for _ in range(number):
            client = socket.create_connection(("127.0.0.1", server.port))
            opened.enter_context(contextlib.closing(client))
            client.sendall(_REQUEST)
            if not client.recv(65_536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a stream was refused")
        yield


def share_of_a_core(pid: int, seconds: float) -> float:
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - began)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def predict_for(server: Server, seconds: float, rate: float) -> list[float]:
    """Predict at a rate, one at a time. Returns the seconds of each."""
    image, taken = photo(), []
    with httpx.Client(timeout=30, headers={"Content-Type": "image/jpeg"}) as client:
        began = time.monotonic()
        for i in range(int(seconds * rate)):
            time.sleep(max(0.0, began + i / rate - time.monotonic()))
            sent = time.perf_counter()
            client.post(f"{server.url}/v1/predict", content=image).raise_for_status()
            taken.append(time.perf_counter() - sent)
    return taken


if __name__ == "__main__":
    main()
