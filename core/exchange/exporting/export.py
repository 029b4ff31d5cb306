"""An export: the labelled set as of one snapshot, in pieces that are sent as they are made."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import UNUSABLE_IMAGE
from core.exchange.exporting.export_rows import Format, RowFormat, labelling_config, row_format
from core.exchange.exporting.labelled_set import LabelledImage, labelled_set
from core.exchange.exporting.zip_stream import ZipStream
from core.exchange.reading.label_file import REPORT
from core.labelling import labels
from core.release import release
from core.store.store import Store

CONFIG = "label-studio.xml"
_MAX_LEFT_OUT = 1_000
_PIECE_BYTES = 256_000


@dataclass(slots=True)
class Export:
    store: Store
    format: Format
    with_images: bool
    # The newest label event that counts.
    snapshot: int
    num_exported: int = 0
    num_left_out: int = 0
    # Images that are lost or damaged: the first of them.
    left_out: list[dict[str, object]] = field(default_factory=list)
    # Their labels. There are few classes.
    _labels: dict[str, None] = field(default_factory=dict)

    @staticmethod
    def begin(store: Store, format: Format, with_images: bool) -> Export:
        """Raises StoreError."""
        with store.db.read() as conn:
            return Export(store, format, with_images, labels.newest_id(conn))

    @property
    def file_name(self) -> str:
        if self.with_images:
            return f"evergreen-{self.format}-{self.snapshot}.zip"
        name, _, suffix = row_format(self.format).file.partition(".")
        return f"evergreen-{name}-{self.snapshot}.{suffix}"

    @property
    def media_type(self) -> str:
        return "application/zip" if self.with_images else row_format(self.format).media_type

    def pieces(self) -> Iterator[bytes]:
        """Ends where its reader stops. Raises StoreError: then what was sent has no end."""
        if self.with_images:
            yield from self._archive()
        else:
            yield from self._only_labels()

    def _only_labels(self) -> Iterator[bytes]:
        rows = row_format(self.format)
        piece = [rows.begin]
        num_characters = 0
        for row in labelled_set(self.store.db, self.snapshot):
            piece.append(self._next(rows, row, None))
            num_characters += len(piece[-1])
            if num_characters > _PIECE_BYTES:
                yield "".join(piece).encode()
                piece, num_characters = [], 0
        piece.append(rows.end)
        yield "".join(piece).encode()

    def _archive(self) -> Iterator[bytes]:
        rows = row_format(self.format)
        stream = ZipStream()
        text = _PackedText()
        text.add(rows.begin)
        now = self.store.db.clock()
        for row in labelled_set(self.store.db, self.snapshot):
            content = self._read(row)
            if content is None:
                continue
            path = rows.path_of(row, content)
            stream.add(path, content, row.labelled_at)
            text.add(self._next(rows, row, path))
            yield from stream.ready()
        text.add(rows.end)
        yield from stream.add_text(rows.file, text.pieces(), now)
        if self.format == "label-studio":
            yield from stream.add_text(CONFIG, [labelling_config([*self._labels]).encode()], now)
        yield from stream.add_text(REPORT, [self._report().encode()], now)
        yield stream.close()

    def _next(self, rows: RowFormat, row: LabelledImage, path: str | None) -> str:
        before = rows.between if self.num_exported else ""
        self.num_exported += 1
        self._labels[row.label] = None
        return before + rows.piece(row, path)

    def _read(self, row: LabelledImage) -> bytes | None:
        """None if the image is lost, or was erased since its page was read."""
        try:
            return self.store.blobs.get(row.image)
        except UNUSABLE_IMAGE as error:
            self.num_left_out += 1
            if len(self.left_out) < _MAX_LEFT_OUT:
                self.left_out.append({"id": row.id, "sha256": row.image, "why": error.code})
            return None

    def _report(self) -> str:
        fields = {
            "release": release(),
            "format": self.format,
            "snapshot": self.snapshot,
            "exported": self.num_exported,
            "left_out": self.left_out,
            "left_out_total": self.num_left_out,
        }
        return json.dumps(fields, indent=1)


class _PackedText:
    """Text that is kept compressed: a line for each image of a large set."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(1)
        self._parts: list[bytes] = []

    def add(self, text: str) -> None:
        self._parts.append(self._pack.compress(text.encode()))

    def pieces(self) -> Iterator[bytes]:
        """All of it, once."""
        self._parts.append(self._pack.flush())
        unpack = zlib.decompressobj()
        for part in self._parts:
            if part:
                yield unpack.decompress(part)
        yield unpack.flush()
