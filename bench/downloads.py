"""Many readers of a model at once: python -m bench.downloads [--readers 100]

Each reader downloads /v1/versions/1/model.onnx, while liveness is asked every 20 ms. The latency of
liveness is shown before and meanwhile, with the largest memory of a worker.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from bench.loop import memory_of_workers
from bench.tables import show
from tests.support.server import Server, running

_EVERY_S = 0.02
_SLOW_READ_BYTES = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--pause-ms", type=float, default=0.0, help="of each reader, per 64 kB")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home") as server:
        rows = [["before", *_row(server, _watched(server, lambda: time.sleep(2.0)))]]
        first = download(server, 0.0)
        began = time.perf_counter()
        watched = _watched(
            server, lambda: _download_all(server, options.readers, options.pause_ms / 1000)
        )
        took = time.perf_counter() - began
        rows.append([f"{options.readers} readers, {took:.1f} s", *_row(server, watched)])
    title = f"Liveness while a model of {first / 1e6:.1f} MB is downloaded"
    names = ["", "p50, ms", "p99, ms", "worst, ms", "memory of a worker"]
    show(title, names, rows, markdown=options.markdown)


def _row(server: Server, latencies_s: list[float]) -> list[str]:
    cuts = statistics.quantiles(latencies_s, n=100)
    figures = [cuts[49], cuts[98], max(latencies_s)]
    return [*(f"{1000 * figure:.1f}" for figure in figures), memory_of_workers(server)]


def _watched(server: Server, work: object) -> list[float]:
    """Latencies of liveness until the work is done."""
    latencies: list[float] = []
    is_done = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not is_done.wait(_EVERY_S):
                began = time.perf_counter()
                client.get("/livez").raise_for_status()
                latencies.append(time.perf_counter() - began)

    thread = threading.Thread(target=watch)
    thread.start()
    work()  # type: ignore[operator]
    is_done.set()
    thread.join()
    return latencies


def _download_all(server: Server, num_readers: int, pause_s: float) -> None:
    with ThreadPoolExecutor(num_readers) as pool:
        sizes = set(pool.map(lambda _: download(server, pause_s), range(num_readers)))
    assert len(sizes) == 1, sizes


def download(server: Server, pause_s: float) -> int:
    """Returns the bytes of the response. A plain socket: the reader costs little."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        path = "/v1/versions/1/model.onnx"
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        total = 0
        while received := connection.recv(_SLOW_READ_BYTES):
            total += len(received)
            if pause_s:
                time.sleep(pause_s)
    return total


if __name__ == "__main__":
    main()
