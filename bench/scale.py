"""Label to live with many labels: python -m bench.scale IMAGES [--labels 20000] [--classes 50]

IMAGES is an .npz of labelled images (see training/distil/sources.py) or a folder of folders. They
are labelled before the server starts, as by `evergreen import`. Then single labels are timed, from
their acknowledgement until every worker answers with a version that was trained on them.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.loop import PAUSE_S, memory_of_workers, one_by_one, quantile
from core.audit import Actor
from core.inputs.kind import Limits
from core.inputs.pixels.kind import PIXELS
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.settings import Settings
from core.store.store import open_store
from tests.support.digits import Digit
from tests.support.server import Server, running
from training.distil.sources import Archive

_BATCH = 200
_FIRST_VERSION_S = 900.0

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--labels", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args()
    pool = itertools.islice(read(options.images, options.classes), options.labels + options.trials)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        label_all(home, itertools.islice(pool, options.labels), options.labels)
        with running(home) as server:
            began = time.perf_counter()
            console.print("Waiting for the first version of these labels ...")
            first_s = wait_for_first(server, began)
            live, held_back = one_by_one(server, list(pool), PAUSE_S)
            memory = memory_of_workers(server)
    table = Table(title=f"{options.labels:,} labels of {options.classes} classes")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_row("start to a version trained on all of them", f"{first_s:.0f} s")
    for q in (0.5, 0.95):
        table.add_row(f"label to live, p{100 * q:.0f}", f"{quantile(live, q)} s")
    table.add_row("label to live, slowest", f"{quantile(live, 1.0)} s")
    table.add_row("trials that were promoted (held back)", f"{len(live)} ({held_back})")
    table.add_row("memory of a serving worker after that (RSS, largest)", memory)
    console.print(table)


def read(path: Path, num_classes: int) -> Iterator[Digit]:
    """Yield images as PNG, cycling through the first classes, so that any prefix has them all."""
    if path.is_dir():
        folders = sorted(p for p in path.iterdir() if p.is_dir())[:num_classes]
        rounds = itertools.zip_longest(*(sorted(p.iterdir()) for p in folders))
        for files in rounds:
            for folder, file in zip(folders, files, strict=True):
                if file is not None:
                    yield Digit(_png(file.read_bytes()), _label(folder.name))
        return
    archive = Archive(path)
    by_class: dict[int, list[bytes]] = {k: [] for k in range(num_classes)}
    for image, label in archive.read():
        if label in by_class:
            by_class[label].append(image)
    for images in itertools.zip_longest(*by_class.values()):
        for k, image in enumerate(images):
            if image is not None:
                yield Digit(_png(image), _label(archive.classes[k]))


def _label(name: str) -> str:
    """Return another name than the starter's class, which may have been trained on these images."""
    return f"my {name}"


def _png(image: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def label_all(home: Path, examples: Iterator[Digit], count: int) -> None:
    store = open_store(Settings(home=home))
    tracked = track(examples, "labelling", total=count, console=console)
    for batch in _batches(iter(tracked)):
        requests = []
        for example in batch:
            new = intake.prepare(example.image, Limits(), "import", PIXELS)
            store.blobs.put(example.image, durable=False)
            requests.append((new, LabelRequest(example.label, "bench", source="import")))
        intake.label_prepared(store, requests, time.time(), Actor("bench"))
    store.db.close()


def _batches(examples: Iterator[Digit]) -> Iterator[list[Digit]]:
    while batch := list(itertools.islice(examples, _BATCH)):
        yield batch


def wait_for_first(server: Server, began: float) -> float:
    """Wait for the first trained version. Returns the seconds since `began`."""
    while (status := server.status())["version"] == 1:
        last = status["last_run"]
        if last is not None and last["outcome"] == "held-back":
            raise SystemExit(f"the gate held the first version back: {last['reason']}")
        if time.perf_counter() - began > _FIRST_VERSION_S:
            raise SystemExit(f"no version after {_FIRST_VERSION_S:.0f} s: {server.log()[-1000:]}")
        time.sleep(0.5)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
