"""Peak memory of a trainer with many examples: python -m bench.trainer_memory [--examples 100000]

The home is new and serves the default backbone. Labels and made-up embeddings are inserted by SQL,
so that nothing has to be embedded. A trainer does one run on them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import text

from bench.tables import show
from core import runs
from core.models.pretrained import choice as pretrained
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store

_CHUNK = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--backbone", choices=pretrained.NAMES, default=pretrained.NAMES[0])
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), device="cpu", workers=1)
        store = open_store(settings)
        ensure_first_version(store, options.backbone)
        width = fill(store, options.examples, options.classes)
        peak, seconds, reason = run_once(settings, store)
        store.db.close()
    rows = [[f"{options.examples:,} examples of width {width:,}", f"{peak:,.0f}", f"{seconds:.0f}"]]
    show("One run", ["", "peak RSS, MB", "seconds"], rows, markdown=options.markdown)
    print(reason)


def fill(store: Store, num_examples: int, num_classes: int) -> int:
    """Returns the width of the embeddings."""
    with store.db.read() as conn:
        version = versions.get(conn, 1)
    width = versions.read_manifest(version, store).embedding_size
    rng = np.random.default_rng(0)
    centre_KD = rng.standard_normal((num_classes, width), np.float32)
    for start in range(0, num_examples, _CHUNK):
        ids = np.arange(start + 1, min(start + _CHUNK, num_examples) + 1)
        x_ND = 0.1 * centre_KD[ids % num_classes]
        x_ND += rng.standard_normal(x_ND.shape, np.float32)
        _insert(store, version.backbone, ids, x_ND.astype("<f2"), num_classes)
    return width


def _insert(
    store: Store, backbone: str, ids: np.ndarray, x_ND: np.ndarray, num_classes: int
) -> None:
    examples = [
        {"i": int(i), "digest": f"{i:064}", "held": bool(i // num_classes % 5 == 0)} for i in ids
    ]
    with store.db.write(durable=False) as conn:
        conn.execute(
            text(
                "INSERT INTO examples VALUES (:i, :digest, 1, 1, 1, 'bench', :held, :digest, '', "
                "0, 0, 0, 0, 0.0)"
            ),
            examples,
        )
        conn.execute(
            text("INSERT INTO labels (example_id, label, who, created_at) VALUES (:i, :l, '', 0)"),
            [{"i": int(i), "l": f"class {i % num_classes}"} for i in ids],
        )
        conn.execute(
            text("INSERT INTO embeddings VALUES (:i, :b, :v)"),
            [
                {"i": int(i), "b": backbone, "v": x_D.tobytes()}
                for i, x_D in zip(ids, x_ND, strict=True)
            ],
        )


def run_once(settings: Settings, store: Store) -> tuple[float, float, str]:
    """Returns the peak in MB, the time of the run, and how it ended."""
    environment = os.environ | {
        "EVERGREEN_HOME": str(settings.home),
        "EVERGREEN_DEVICE": "cpu",
    }
    command = [sys.executable, "-m", "training"]
    with subprocess.Popen(command, env=environment) as trainer:
        while True:
            time.sleep(0.5)
            with store.db.read() as conn:
                last = runs.last_of(conn)
            if last is not None or trainer.poll() is not None:
                break
        status = Path(f"/proc/{trainer.pid}/status").read_text()
        trainer.terminate()
    if last is None:
        raise SystemExit("the trainer ended")
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    seconds = (last.finished_at or 0.0) - (last.started_at or 0.0)
    return int(peak.split()[1]) / 1000, seconds, last.reason or last.error or ""


if __name__ == "__main__":
    main()
