"""Optimised forms of backbones on disk, for this kind of CPU and this build of onnxruntime.

Owns the files: `<digest>-<machine>.ort` is the model, and `<digest>-<machine>.json` says what must
hold of it. Makes and runs no model (`core/models/backbones.py` does).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.models.onnx_sessions import ORT_VERSION
from core.system.files import write_whole


@dataclass(frozen=True, slots=True)
class OptimisedForm:
    path: Path
    # Golden embedding [1, D] of the backbone itself, computed on this kind of machine.
    golden_BD: NDArray[np.float32]


class OrtCache:
    def __init__(self, folder: Path, machine: str) -> None:
        """`machine` is `core.models.onnx_sessions.cpu_identity`."""
        self._folder = folder
        self._machine = machine

    def get(self, digest: str) -> OptimisedForm | None:
        """The form of a backbone. None if there is none; one that is damaged is removed."""
        model, checks_file = self._files(digest)
        try:
            checks = json.loads(checks_file.read_bytes())
            if _sha256(model) == checks["sha256"]:
                return OptimisedForm(model, np.asarray([checks["golden"]], np.float32))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.remove(digest)
        return None

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A path in the folder to write a model to; it is removed afterwards. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as folder:
            yield Path(folder) / "model.ort"

    def put(self, digest: str, model: Path, golden_BD: NDArray[np.float32]) -> None:
        """Copy a form into the cache, and remove those of other releases of onnxruntime.

        `golden_BD` is the golden embedding [1, D] of the backbone itself. Raises OSError.
        """
        content = model.read_bytes()
        checks = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "golden": [float(value) for value in golden_BD[0]],
            "onnxruntime": ORT_VERSION,
        }
        model_file, checks_file = self._files(digest)
        # Where two processes write different files, the form counts as damaged and is made again.
        write_whole(model_file, content)
        write_whole(checks_file, json.dumps(checks).encode())
        self._sweep()

    def remove(self, digest: str) -> None:
        for file in self._files(digest):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for checks_file in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if json.loads(checks_file.read_bytes())["onnxruntime"] != ORT_VERSION:
                    checks_file.with_suffix(".ort").unlink(missing_ok=True)
                    checks_file.unlink(missing_ok=True)

    def _files(self, digest: str) -> tuple[Path, Path]:
        stem = f"{digest}-{self._machine}"
        return self._folder / f"{stem}.ort", self._folder / f"{stem}.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
