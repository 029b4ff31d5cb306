"""How fast an archive is imported, beside decoding and embedding alone: python -m bench.imports DIR

DIR holds photos, in folders of classes below train and val. They are packed into an archive; more
than there are, with --photos, are mirrored and turned copies. Then, in this process:

  bare      each photo is read from the archive, decoded and embedded, in one thread
  import    the archive is worked on as a serving process does: read, checked, stored and labelled
  both      import, and the embeddings of all examples after it, as the trainer computes them

Each is repeated with --repeats, in turn, each time into a new home.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from bench.models import first_manifest
from bench.tables import show
from core.audit import Actor
from core.exchange.importing import jobs
from core.exchange.importing.claims import Claims
from core.exchange.importing.job_run import JobRun
from core.exchange.importing.upload_files import UploadFiles
from core.exchange.reading.archive import Archive
from core.ids import new_id
from core.inputs.kind import Limits
from core.inputs.pixels.decoding import decode
from core.labelling import labels
from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.priority import yield_to_others
from training.embeddings import embed

_BATCH = 16
_TURNS = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)


def copies(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    """The photos, and then their copies, by a name in the folder of the class."""
    for turn, path in itertools.product(range(len(_TURNS)), files):
        content = path.read_bytes()
        transpose = _TURNS[turn]
        if transpose is not None:
            out = BytesIO()
            with Image.open(path) as im:
                im.convert("RGB").transpose(transpose).save(out, "JPEG", quality=92)
            content = out.getvalue()
        yield f"{path.parent.name}/{turn}-{path.name}", content


def pack(folder: Path, number: int | None, archive: Path) -> int:
    files = sorted(path for path in folder.rglob("*.jpg"))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        wanted = itertools.islice(copies(files), number or len(files))
        return sum(1 for name, content in wanted if packed.writestr(name, content) is None)


def bare(archive: Path, servable: Servable) -> float:
    started = time.perf_counter()
    with Archive(archive) as source:
        contents = (source.read(file, 25_000_000) for file in source.files)
        pixels = (decode(each, servable.manifest.input_spec, Limits()) for each in contents)
        while batch := list(itertools.islice(pixels, _BATCH)):
            servable.backbone.embed(np.stack(batch))
    return time.perf_counter() - started


def imported(archive: Path, store: Store, settings: Settings) -> float:
    """Seconds, from the claim to the end."""
    files = UploadFiles(settings)
    files.folder.mkdir()
    import_id = new_id()
    shutil.copy(archive, files.path(import_id))
    with store.db.write() as conn:
        jobs.add(
            conn,
            import_id,
            name=archive.name,
            num_bytes=archive.stat().st_size,
            who="bench",
            host="here",
            layout="auto",
            by=Actor("bench"),
            now=store.db.clock(),
        )
    started = time.perf_counter()
    job = Claims(store.db, new_id(), "here", files.has).next(store.db.clock())
    assert job is not None
    with ThreadPoolExecutor(1, initializer=yield_to_others) as pool:
        JobRun(store, settings, files, job, pool, lambda: False).run()
    seconds = time.perf_counter() - started
    with store.db.read() as conn:
        done = jobs.get(conn, import_id)
    counts = {kind: number for kind, number in done.report["counts"].items() if number}
    assert done.state == "finished", done.error
    print(f"  {counts}", flush=True)
    return seconds


def embedded(store: Store, servable: Servable) -> float:
    started = time.perf_counter()
    with store.db.read() as conn:
        rows = labels.current(conn)
    embed(store, servable.backbone, servable.manifest.input_spec, rows, Limits())
    return time.perf_counter() - started


def measure(archive: Path, folder: Path) -> dict[str, float]:
    settings = Settings(home=folder, device="cpu", workers=1)
    store = open_store(settings)
    ensure_first_version(store)
    servable = load(first_manifest(store), store.blobs, Runtime("cpu"))
    seconds = {"bare": bare(archive, servable), "import": imported(archive, store, settings)}
    seconds["both"] = seconds["import"] + embedded(store, servable)
    store.db.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, help="so many; without it, those that there are")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    threadpool_limits(1, user_api="blas")
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "photos.zip"
        number = pack(options.folder, options.photos, archive)
        print(f"{number:,} photos, {archive.stat().st_size / 1e6:,.0f} MB", flush=True)
        runs = [measure(archive, Path(scratch) / f"home-{n}") for n in range(options.repeats)]
    rates = {name: [number / run[name] for run in runs] for name in runs[0]}
    base = statistics.median(rates["bare"])
    show(
        f"{number:,} photos",
        ("", "Photos a second", "From", "To", "Of bare"),
        [
            (
                name,
                f"{statistics.median(each):.0f}",
                f"{min(each):.0f}",
                f"{max(each):.0f}",
                f"{statistics.median(each) / base:.2f}",
            )
            for name, each in rates.items()
        ],
        markdown=options.markdown,
    )


if __name__ == "__main__":
    main()
