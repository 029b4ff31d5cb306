"""What the optimised form of a backbone saves when it is loaded, and what it costs later.

    python -m bench.opening [NAME ...] [--rounds 20] [--markdown]

CPU time of this thread to check a backbone in a local blob store, load it and run it once: from its
file, from its optimised form in the cache (freed memory is returned to the system in between), and
from the optimised form again with the freed memory still in the process, as under repeated swaps.
Then the time of one run of each: a form that loads faster must not predict slower.
Weights are random except the starter's: they change no time. Names other than `starter` need the
training extra.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from pathlib import Path

from bench.models import STARTER, exported
from bench.tables import bar, show
from core.inputs.pixels import PixelSpec
from core.models.backbones import Runtime, golden_pixels
from core.store.blobs import Blobs, LocalBlobs
from core.system.background import trim_memory

_TURNS, _RUNS = 12, 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[STARTER], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    rows = []
    with bar() as progress, tempfile.TemporaryDirectory() as folder:
        blobs, cache = LocalBlobs(Path(folder) / "blobs"), Path(folder) / "cache"
        for name in options.names:
            task = progress.add_task(name, total=options.rounds)
            content, spec = exported(name)
            digest = blobs.put(content)
            Runtime("cpu", cache=cache).backbone(digest, blobs)
            if not list(cache.glob(f"ort/{digest}-*.ort")):
                rows.append([name, f"{len(content) / 1e6:.1f}", "", "none here", *[""] * 5])
                continue
            took: tuple[list[float], ...] = ([], [], [])
            for _ in range(options.rounds):
                took[0].append(_open(digest, blobs, None, spec))
                trim_memory()
                took[1].append(_open(digest, blobs, cache, spec))
                took[2].append(_open(digest, blobs, cache, spec))
                trim_memory()
                progress.advance(task)
            plain, quick, at_hand = (1000 * statistics.median(seconds) for seconds in took)
            row = [f"{len(content) / 1e6:.1f}", f"{plain:.1f}", f"{quick:.1f}"]
            runs = [1000 * seconds for seconds in _runs(digest, blobs, cache, spec)]
            row += [f"{quick / plain:.2f}", f"{at_hand:.1f}", *(f"{ms:.2f}" for ms in runs)]
            rows.append([name, *row, f"{runs[1] / runs[0]:.2f}"])
    columns = ["backbone", "file, MB", "its file, ms", "optimised, ms", "ratio"]
    columns += ["with freed memory, ms", "a run, ms", "optimised, ms", "ratio"]
    show("CPU time to load a backbone", columns, rows, markdown=options.markdown)


def _open(digest: str, blobs: Blobs, cache: Path | None, spec: PixelSpec) -> float:
    runtime = Runtime("cpu", cache=cache)
    started = time.thread_time()
    backbone = runtime.backbone(digest, blobs)
    backbone.embed_golden(spec, 0)
    taken = time.thread_time() - started
    del backbone
    gc.collect()
    return taken


def _runs(digest: str, blobs: Blobs, cache: Path, spec: PixelSpec) -> tuple[float, float]:
    """Medians of the backbone from its file, and from its optimised form."""
    pixels_BHWC = golden_pixels(spec, 0)
    forms = [Runtime("cpu", cache=folder).backbone(digest, blobs) for folder in (None, cache)]
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TURNS):
        for backbone, seconds in zip(forms, took, strict=True):
            for _ in range(_RUNS):
                started = time.thread_time()
                backbone.embed(pixels_BHWC)
                seconds.append(time.thread_time() - started)
    return statistics.median(took[0]), statistics.median(took[1])


if __name__ == "__main__":
    main()
