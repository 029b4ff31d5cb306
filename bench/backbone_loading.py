"""CPU time to load a backbone from its file and from its optimised form, and to run each.

    python -m bench.backbone_loading [NAME ...] [--rounds 20] [--markdown]

A load checks, opens and runs a backbone once, from a local blob store. It is timed from the file,
from the optimised form after trimming memory, and from that form again without trimming, as in
repeated swaps. Then single runs of both forms are timed in turn, because a form that loads faster
must not predict more slowly. Only the starter has trained weights, which does not change the times.
Names other than `starter` need the training extra.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from pathlib import Path

from bench.models import DEFAULT, exported
from bench.tables import bar, show
from core.inputs.pixels.decoding import PixelSpec
from core.models.backbones import Runtime
from core.store.blobs import Blobs, LocalBlobs
from core.system.background import trim_memory

_TURNS, _RUNS = 12, 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[DEFAULT], metavar="NAME")
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
            plain, quick, untrimmed = (1000 * statistics.median(seconds) for seconds in took)
            row = [f"{len(content) / 1e6:.1f}", f"{plain:.1f}", f"{quick:.1f}"]
            runs = [1000 * seconds for seconds in _runs(digest, blobs, cache, spec)]
            row += [f"{quick / plain:.2f}", f"{untrimmed:.1f}", *(f"{ms:.2f}" for ms in runs)]
            rows.append([name, *row, f"{runs[1] / runs[0]:.2f}"])
    columns = ["backbone", "file, MB", "its file, ms", "optimised, ms", "ratio"]
    columns += ["untrimmed, ms", "a run, ms", "optimised, ms", "ratio"]
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
    """Return the median seconds of a run, from the file and from the optimised form."""
    pixels_BHWC = spec.golden(0)
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
