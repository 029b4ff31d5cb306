"""The spool: predictions that the store could not take, as files on the local disk.

All processes of a machine share one folder. A file is named by its prediction, whose ids are in the
order of time. It holds the row as one line of JSON, and then the image if that is to be kept. Its
embedding is in base64; files of older releases have none. A file is complete or absent, and is not
fsynced: as in the database, a prediction may be lost by a power cut.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from core.predictions import Prediction
from core.settings import Settings
from core.store.blobs import sha256
from core.system.files import write_whole

_LOCK = "drain.lock"
_ID = re.compile(r"[0-9a-f-]{36}")


class Depth(NamedTuple):
    num_predictions: int
    num_bytes: int


class Damaged(Exception):
    """A file that no process of this release wrote."""


def open_spool(settings: Settings) -> Spool:
    """The spool of this machine."""
    max_bytes, max_age_s = int(settings.spool_mb * 1e6), settings.spool_hours * 3600
    return Spool(settings.home / "spool", max_bytes, max_age_s)


class Spool:
    def __init__(self, folder: Path, max_bytes: int, max_age_s: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        # As of the last look, and what this process has added since.
        self._num_bytes = 0
        # When it became half full, as Unix time. None: it is not.
        self.filling_since: float | None = None

    def put(self, prediction: Prediction, image: bytes) -> bool:
        """Keep a prediction with its image. Returns whether there was room."""
        content = _to_line(prediction) + b"\n" + image
        if self._num_bytes + len(content) > self._max_bytes:
            return False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / prediction.id, content)
        except OSError:  # the disk is full, or read-only
            return False
        self._num_bytes += len(content)
        return True

    def holds(self, prediction_id: str) -> bool:
        return bool(_ID.fullmatch(prediction_id)) and (self._folder / prediction_id).exists()

    def depth(self) -> Depth:
        """Look at the folder. Other processes see what this one added at their next look."""
        sizes = []
        for path in self.oldest_first():
            with contextlib.suppress(OSError):  # drained meanwhile
                sizes.append(path.stat().st_size)
        self._num_bytes = sum(sizes)
        if self._num_bytes <= self._max_bytes / 2:
            self.filling_since = None
        elif self.filling_since is None:
            self.filling_since = time.time()
        return Depth(len(sizes), self._num_bytes)

    def oldest_first(self) -> list[Path]:
        try:
            names = sorted(name for name in os.listdir(self._folder) if _ID.fullmatch(name))
        except OSError:
            return []
        return [self._folder / name for name in names]

    def read(self, path: Path) -> tuple[Prediction, bytes]:
        """Raises OSError, Damaged."""
        line, _, image = path.read_bytes().partition(b"\n")
        try:
            prediction = _from_line(line)
        except (ValueError, TypeError, AttributeError) as error:
            raise Damaged(f"{path.name}: {error}") from error
        is_whole = prediction.image == sha256(image) if image else prediction.kept_bytes is None
        if prediction.id != path.name or not is_whole:
            raise Damaged(f"{path.name} holds another prediction or image than it names")
        return prediction, image

    def remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # it is drained again, which changes nothing
            path.unlink()

    def remove_image(self, image: str) -> int:
        """Delete the predictions of an image, by its digest. Returns how many."""
        number = 0
        for path in self.oldest_first():
            with contextlib.suppress(OSError, Damaged):  # drained meanwhile, or of another release
                if self.read(path)[0].image == image:
                    path.unlink()
                    number += 1
        return number

    def is_too_old(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime < time.time() - self._max_age_s
        except OSError:
            return False

    @contextlib.contextmanager
    def only_drainer(self) -> Iterator[bool]:
        """Whether no other process of this machine drains the spool meanwhile."""
        try:
            file = open(self._folder / _LOCK, "wb")  # noqa: SIM115
        except OSError:  # nothing was ever spooled
            yield False
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True


def _to_line(prediction: Prediction) -> bytes:
    row = asdict(prediction)
    if prediction.embedding is not None:
        row["embedding"] = base64.b64encode(prediction.embedding).decode()
    return json.dumps(row).encode()


def _from_line(line: bytes) -> Prediction:
    """Raises ValueError, TypeError."""
    row = json.loads(line)
    text = row.get("embedding")
    return Prediction(**row | {"embedding": None if text is None else base64.b64decode(text)})
