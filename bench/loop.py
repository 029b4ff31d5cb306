"""make bench: start to ready, label to live, and the memory of a worker.

    python -m bench.loop [--input text] [--trials 20] [--labels 200 2000] [--burst 0] [--blocks]
        [--pause 0.3]

A trial labels one more image or text, and waits until every worker answers with a version that was
trained on it. Trials that the gate holds back are counted separately. `--burst` then sends so many
labels without pause, and times the last one. With `--blocks` all of it happens during training of
blocks. After a `--pause` of 2 seconds, a label comes while the version before is analysed.

The images are handwritten digits, and the texts are descriptions of Debian packages in twelve
sections.
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
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from PIL import Image, ImageChops
from rich.console import Console
from rich.table import Table

from bench.demo import send_labels_with_bar
from bench.during_training import Training, until_idle
from bench.load_results import percentile
from bench.texts import debian
from core.system.host import available_cores
from tests.support.digits import Digit, digits
from tests.support.learning import Example, wait_until_live
from tests.support.server import Server, running
from tests.support.tickets import LabelledText

PAUSE_S = 0.3

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", choices=["image", "text"], default="image")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--labels", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--burst", type=int, default=0)
    parser.add_argument("--blocks", action="store_true")
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds before each trial")
    options = parser.parse_args()
    is_text = options.input == "text"
    table = Table(title=f"The loop on {available_cores()} cores, {platform.processor() or 'CPU'}")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    with tempfile.TemporaryDirectory() as folder:
        starts = [start_to_ready(Path(folder) / f"start-{i}", options.input) for i in range(4)]
        table.add_row("start to ready, empty home folder (median of 4)", _seconds(starts))
        for num_labels in options.labels:
            home = Path(folder) / f"labels-{num_labels}"
            tier = "blocks" if options.blocks else None
            num_examples = num_labels + options.trials + options.burst
            pool = enough_texts(num_examples) if is_text else enough_images(num_examples)
            live, held_back, burst, memory = label_to_live(
                home, options.input, pool, num_labels, options.trials, tier, options.pause
            )
            table.add_row(f"label to live at {num_labels} labels, p50", f"{quantile(live, 0.5)} s")
            table.add_row(f"label to live at {num_labels} labels, p95", f"{quantile(live, 0.95)} s")
            table.add_row("... trials that were promoted (held back)", f"{len(live)} ({held_back})")
            if options.burst:
                table.add_row(f"... the last of a burst of {options.burst} labels", burst)
            table.add_row("memory of a serving worker after that (RSS, largest)", memory)
    console.print(table)


def start_to_ready(home: Path, kind: str) -> float:
    server = Server(home, EVERGREEN_INPUT=kind)
    try:
        return server.start()
    finally:
        server.stop()


def label_to_live(
    home: Path,
    kind: str,
    pool: Sequence[Example],
    num_labels: int,
    trials: int,
    tier: str | None,
    pause_s: float,
) -> tuple[list[float], int, str, str]:
    """Returns the seconds of promoted trials, the number held back, the time of the last label of
    the burst and of the run that learnt it, and the memory of a worker. `tier` trains meanwhile.

    What follows the labels and trials in `pool` is the burst.
    """
    with running(home, EVERGREEN_INPUT=kind) as server:
        newest = send_labels_with_bar(server, pool[:num_labels], f"{num_labels} labels")
        wait_until_live(server, newest, pool[0])
        until_idle(server)
        with Training(server, tier) as training:
            training.until_running()
            live, held_back = one_by_one(server, pool[num_labels:][:trials], pause_s)
            burst = last_of_burst(server, pool[num_labels + trials :])
        check_torch_is_not_loaded(server)
        return live, held_back, burst, memory_of_workers(server)


def last_of_burst(server: Server, examples: Sequence[Example]) -> str:
    if not examples:
        return "none"
    newest = send_labels_with_bar(server, examples, "a burst")
    seconds, run = wait_until_live(server, newest, examples[-1])
    began, ended = (datetime.fromisoformat(run[key]) for key in ("started_at", "finished_at"))
    took = f"its run took {(ended - began).total_seconds():.2f} s"
    return f"held back ({took})" if seconds is None else f"{seconds:.2f} s ({took})"


def one_by_one(
    server: Server, examples: Sequence[Example], pause_s: float
) -> tuple[list[float], int]:
    """Send labels one by one. Returns the seconds of promoted runs, and the number held back."""
    live: list[float] = []
    held_back = 0
    for example in examples:
        time.sleep(pause_s)
        newest = send_labels_with_bar(server, [example], "one more")
        seconds, _ = wait_until_live(server, newest, example)
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


def enough_texts(count: int) -> list[LabelledText]:
    return debian.descriptions(-(-count // len(debian.SECTIONS)))[:count]


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
