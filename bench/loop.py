"""make bench: start to ready, label to live, and the memory of a worker.

    python -m bench.loop [--trials 20] [--labels 200 2000] [--burst 0] [--blocks] [--pause 0.3]

A trial labels one more image and waits until every worker answers with a version that was trained
on it. Trials that the gate holds back are counted separately. `--burst` then sends so many labels
without pause, and times the last one. With `--blocks` all of it happens during training of blocks.
After a `--pause` of 2 seconds, a label comes while the version before is analysed.
"""

from __future__ import annotations

import argparse
import io
import itertools
import platform
import re
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from PIL import Image, ImageChops
from rich.console import Console
from rich.table import Table

from bench.demo import send_labels_with_bar
from bench.during_training import Training, until_idle
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
    parser.add_argument("--burst", type=int, default=0)
    parser.add_argument("--blocks", action="store_true")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before each trial")
    options = parser.parse_args()
    table = Table(title=f"The loop on {available_cores()} cores, {platform.processor() or 'CPU'}")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    with tempfile.TemporaryDirectory() as folder:
        starts = [start_to_ready(Path(folder) / f"start-{i}") for i in range(4)]
        table.add_row("start to ready, empty home folder (median of 4)", _seconds(starts))
        for num_labels in options.labels:
            home = Path(folder) / f"labels-{num_labels}"
            tier = "blocks" if options.blocks else None
            live, held_back, burst, memory = label_to_live(
                home, num_labels, options.trials, options.burst, tier, options.pause
            )
            table.add_row(f"label to live at {num_labels} labels, p50", f"{quantile(live, 0.5)} s")
            table.add_row(f"label to live at {num_labels} labels, p95", f"{quantile(live, 0.95)} s")
            table.add_row("... trials that were promoted (held back)", f"{len(live)} ({held_back})")
            if options.burst:
                table.add_row(f"... the last of a burst of {options.burst} labels", burst)
            table.add_row("memory of a serving worker after that (RSS, largest)", memory)
    console.print(table)


def start_to_ready(home: Path) -> float:
    server = Server(home)
    try:
        return server.start()
    finally:
        server.stop()


def label_to_live(
    home: Path,
    num_labels: int,
    trials: int,
    num_burst: int,
    tier: str | None,
    pause_s: float,
) -> tuple[list[float], int, str, str]:
    """Returns the seconds of promoted trials, the number held back, the time of the last label of
    the burst and of the run that learnt it, and the memory of a worker. `tier` trains meanwhile."""
    pool = enough_images(num_labels + trials + num_burst)
    with running(home) as server:
        newest = send_labels_with_bar(server, pool[:num_labels], f"{num_labels} labels")
        wait_until_live(server, newest, pool[0].image)
        until_idle(server)
        with Training(server, tier) as training:
            training.until_running()
            live, held_back = one_by_one(server, pool[num_labels:][:trials], pause_s)
            burst = last_of_burst(server, pool[num_labels + trials :])
        check_torch_is_not_loaded(server)
        return live, held_back, burst, memory_of_workers(server)


def last_of_burst(server: Server, examples: list[Digit]) -> str:
    if not examples:
        return "none"
    newest = send_labels_with_bar(server, examples, "a burst")
    seconds, run = wait_until_live(server, newest, examples[-1].image)
    began, ended = (datetime.fromisoformat(run[key]) for key in ("started_at", "finished_at"))
    took = f"its run took {(ended - began).total_seconds():.2f} s"
    return f"held back ({took})" if seconds is None else f"{seconds:.2f} s ({took})"


def one_by_one(server: Server, examples: list[Digit], pause_s: float) -> tuple[list[float], int]:
    """Send labels one by one. Returns the seconds of promoted runs, and the number held back."""
    live: list[float] = []
    held_back = 0
    for digit in examples:
        time.sleep(pause_s)
        newest = send_labels_with_bar(server, [digit], "one more")
        seconds, _ = wait_until_live(server, newest, digit.image)
        if seconds is None:
            held_back += 1
        else:
            live.append(seconds)
    return live, held_back


def enough_images(count: int) -> list[Digit]:
    """Return the digits, and as many copies of them, each shifted in its own way, as it takes."""
    originals = digits()
    shifts = ((5 + 2 * n % 20, 3 + 3 * n % 20) for n in itertools.count())
    copies = (
        Digit(_shifted(digit.image, *shift), digit.label) for shift in shifts for digit in originals
    )
    return list(itertools.islice(itertools.chain(originals, copies), count))


def _shifted(image: bytes, right_px: int, down_px: int) -> bytes:
    buffer = io.BytesIO()
    shifted = ImageChops.offset(Image.open(io.BytesIO(image)), right_px, down_px)
    shifted.save(buffer, "PNG")
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
