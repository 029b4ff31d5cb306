"""make bench: start to ready, label to live, and the memory of a worker.

    python -m bench.loop [--trials 20] [--labels 200 2000]

A trial labels one more image and waits until every worker answers with a version that was trained
on it. That includes the quiet period of the trigger. Trials that the gate holds back are counted
separately.
"""

from __future__ import annotations

import argparse
import io
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops
from rich.console import Console
from rich.table import Table

from bench.demo import send_labels_with_bar
from bench.load_results import percentile
from core.system.host import available_cores
from tests.support.digits import Digit, digits
from tests.support.learning import wait_until_live
from tests.support.server import Server, running

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--labels", type=int, nargs="+", default=[200, 2000])
    options = parser.parse_args()
    table = Table(title=f"The loop on {available_cores()} cores, {platform.processor() or 'CPU'}")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    with tempfile.TemporaryDirectory() as folder:
        starts = [start_to_ready(Path(folder) / f"start-{i}") for i in range(4)]
        table.add_row("start to ready, empty home folder (median of 4)", _seconds(starts))
        for num_labels in options.labels:
            home = Path(folder) / f"labels-{num_labels}"
            live, held_back, memory = label_to_live(home, num_labels, options.trials)
            table.add_row(f"label to live at {num_labels} labels, p50", f"{quantile(live, 0.5)} s")
            table.add_row(f"label to live at {num_labels} labels, p95", f"{quantile(live, 0.95)} s")
            table.add_row("... trials that were promoted (held back)", f"{len(live)} ({held_back})")
            table.add_row("memory of a serving worker after that (RSS, largest)", memory)
    console.print(table)


def start_to_ready(home: Path) -> float:
    server = Server(home)
    try:
        return server.start()
    finally:
        server.stop()


def label_to_live(home: Path, num_labels: int, trials: int) -> tuple[list[float], int, str]:
    pool = enough_images(num_labels + trials)
    with running(home) as server:
        newest = send_labels_with_bar(server, pool[:num_labels], f"{num_labels} labels")
        wait_until_live(server, newest, pool[0].image)
        live, held_back = one_by_one(server, pool[num_labels:])
        check_torch_is_not_loaded(server)
        return live, held_back, memory_of_workers(server)


def one_by_one(server: Server, examples: list[Digit]) -> tuple[list[float], int]:
    """Send labels one by one. Returns the seconds of promoted runs, and the number held back."""
    live: list[float] = []
    held_back = 0
    for digit in examples:
        time.sleep(0.3)
        newest = send_labels_with_bar(server, [digit], "one more")
        seconds, _ = wait_until_live(server, newest, digit.image)
        if seconds is None:
            held_back += 1
        else:
            live.append(seconds)
    return live, held_back


def enough_images(count: int) -> list[Digit]:
    """Return the digits, and as many shifted copies of them as it takes."""
    originals = digits()
    num_copies = max(0, count - len(originals))
    copies = [Digit(_shifted(digit.image), digit.label) for digit in originals[:num_copies]]
    return [*originals, *copies][:count]


def _shifted(image: bytes) -> bytes:
    buffer = io.BytesIO()
    ImageChops.offset(Image.open(io.BytesIO(image)), 5, 3).save(buffer, "PNG")
    return buffer.getvalue()


def memory_of_workers(server: Server) -> str:
    sizes = []
    for worker in server.status()["workers"]:
        text = Path(f"/proc/{worker['pid']}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert match is not None
        sizes.append(int(match[1]) / 1000)
    return f"{max(sizes):.0f} MB"


def check_torch_is_not_loaded(server: Server) -> None:
    for worker in server.status()["workers"]:
        maps = Path(f"/proc/{worker['pid']}/maps").read_text()
        assert "libtorch" not in maps, "a serving worker has loaded torch"


def _seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} s"


def quantile(values: list[float], q: float) -> str:
    return f"{percentile(sorted(values), q):.2f}" if values else "none"


if __name__ == "__main__":
    main()
