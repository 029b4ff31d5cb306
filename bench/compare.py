"""How long a comparison of two versions takes: python -m bench.compare [--examples 2000 20000]

Two versions of the default backbone, with random heads of 100 classes, are compared on held-out
examples whose embeddings are stored. Predictions go on in the same process meanwhile: their
milliseconds are beside those of quiet seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.load_results import percentile
from bench.shadow import photo
from bench.tables import show
from core.labelling import embeddings
from core.models.head_onnx import head_onnx
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.review.comparing import comparison
from core.settings import Settings
from core.store.store import Store, open_store
from service.inference.serving_process import ServingProcess
from tests.support import held_out

_CLASSES = tuple(f"class {k}" for k in range(100))
_QUIET_S = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    rows = []
    for number in options.examples:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(home=Path(folder), device="cpu", workers=1)
            fill(settings, number)
            serving = ServingProcess.start(settings)
            rows.append((f"{number:,}", *asyncio.run(measure(serving))))
            serving.stop()
    columns = ("held out", "first", "again", "p99 quiet", "p99 meanwhile", "predictions then")
    show("Comparison of two versions", columns, rows, markdown=options.markdown)


def fill(settings: Settings, number: int) -> None:
    """Publish versions 2 and 3, and store examples with their embeddings."""
    store = open_store(settings)
    ensure_first_version(store)
    with store.db.write() as conn:
        first = versions.read_manifest(versions.get(conn, 1), store)
        rng = np.random.default_rng(0)
        for _ in range(2):
            weights_DK = rng.normal(0, 1, (first.embedding_size, len(_CLASSES)))
            head = head_onnx(weights_DK.astype(np.float32), np.zeros(len(_CLASSES), np.float32), 1)
            other = replace(first, parent=1, classes=_CLASSES, head=store.blobs.put(head))
            versions.publish(conn, store, other, {"promote": False})
    ids = held_out.add_examples(store, [_CLASSES[k % len(_CLASSES)] for k in range(number)])
    add_embeddings(store, first.backbone, ids, first.embedding_size)
    store.db.close()


def add_embeddings(store: Store, backbone: str, ids: list[int], size: int) -> None:
    rng = np.random.default_rng(1)
    for start in range(0, len(ids), 1_000):
        some = ids[start : start + 1_000]
        vectors_ND = rng.normal(0, 1, (len(some), size)).astype(np.float32)
        with store.db.write(durable=False) as conn:
            embeddings.put(conn, backbone, zip(some, vectors_ND, strict=True))


async def measure(serving: ServingProcess) -> tuple[str, ...]:
    quiet = await predict_while(serving, asyncio.create_task(asyncio.sleep(_QUIET_S)))
    comparing = asyncio.create_task(timed(serving))
    meanwhile = await predict_while(serving, comparing)
    first_s, again_s = await comparing, await timed(serving)
    return (
        *(f"{each:.2f} s" for each in (first_s, again_s)),
        *(f"{1000 * percentile(sorted(each), 0.99):.1f} ms" for each in (quiet, meanwhile)),
        str(len(meanwhile)),
    )


async def timed(serving: ServingProcess) -> float:
    began = time.perf_counter()
    examples, scores = await serving.version_scorer.scores((2, 3))
    await asyncio.to_thread(comparison.difference, examples, *scores)
    return time.perf_counter() - began


async def predict_while(serving: ServingProcess, task: asyncio.Task[Any]) -> list[float]:
    """Predict, one after the other, until the task is done. Returns the seconds of each."""
    image, taken = photo(), []
    while not task.done():
        began = time.perf_counter()
        await serving.predictor.predict(await serving.predictor.servable(), image)
        taken.append(time.perf_counter() - began)
    return taken


if __name__ == "__main__":
    main()
