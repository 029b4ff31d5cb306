"""A zip archive that is sent while it is written: no file, and little memory."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

_SEND_BYTES = 256_000
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


class ZipStream:
    """Write entries, and send after each what `ready` gives; at the end, what `close` gives."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)

    def add(self, name: str, content: bytes, at: float) -> None:
        """As it is: photos do not get smaller. `at` is Unix time."""
        self._zip.writestr(_info(name, at), content)

    def add_text(self, name: str, parts: Iterable[bytes], at: float) -> Iterator[bytes]:
        """Compressed. Yields what is ready meanwhile."""
        info = _info(name, at)
        info.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=True) as entry:
            for part in parts:
                entry.write(part)
                yield from self.ready()

    def ready(self) -> Iterator[bytes]:
        """What is to be sent, if it is worth it."""
        if self._sink.num_bytes >= _SEND_BYTES:
            yield self._sink.take()

    def close(self) -> bytes:
        """The end of the archive."""
        self._zip.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken. It cannot seek, and the archive says so."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.num_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        part = bytes(content)
        self._parts.append(part)
        self.num_bytes += len(part)
        return len(part)

    def take(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        self.num_bytes = 0
        return content


def _info(name: str, at: float) -> zipfile.ZipInfo:
    moment = datetime.datetime.fromtimestamp(max(at, 0.0), datetime.UTC)
    info = zipfile.ZipInfo(name, max(moment.timetuple()[:6], _EARLIEST))
    info.external_attr = _READABLE
    info.create_system = 3  # so that the permissions count
    return info
