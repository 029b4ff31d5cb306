"""An export: the labelled set as of one snapshot, in pieces that are sent as they are made."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from core.errors import UNUSABLE_IMAGE
from core.exchange.exporting.export_rows import Format, RowFormat, labelling_config, row_format
from core.exchange.exporting.labelled_set import LabelledImage, labelled_set
from core.exchange.exporting.layouts import layout_of
from core.exchange.exporting.zip_stream import ZipStream
from core.exchange.reading.label_file import REPORT
from core.inputs.kind import Limits
from core.inputs.tokens import text as texts
from core.labelling import labels
from core.release import release
from core.store.store import Store

CONFIG = "label-studio.xml"
_MAX_LEFT_OUT = 1_000
_PIECE_BYTES = 256_000
# What was taken when the limits were others is exported, too.
_NO_LIMITS = Limits(max_characters=sys.maxsize)


@dataclass(slots=True)
class Export:
    store: Store
    format: Format
    with_images: bool
    # The newest label event that counts.
    snapshot: int
    num_exported: int = 0
    num_left_out: int = 0
    # Inputs that are lost or damaged: the first of them.
    left_out: list[dict[str, object]] = field(default_factory=list)
    # Their labels. There are few classes.
    _labels: dict[str, None] = field(default_factory=dict)

    @staticmethod
    def begin(store: Store, format: Format, with_images: bool) -> Export:
        """Raises StoreError."""
        with store.db.read() as conn:
            return Export(store, format, with_images, labels.newest_id(conn))

    @property
    def rows(self) -> RowFormat:
        return row_format(self.format, layout_of(self.store.kind))

    @property
    def is_archive(self) -> bool:
        return self.with_images and self.rows.may_be_archive

    @property
    def file_name(self) -> str:
        if self.is_archive:
            return f"evergreen-{self.format}-{self.snapshot}.zip"
        name, _, suffix = self.rows.file.partition(".")
        return f"evergreen-{name}-{self.snapshot}.{suffix}"

    @property
    def media_type(self) -> str:
        return "application/zip" if self.is_archive else self.rows.media_type

    def pieces(self) -> Iterator[bytes]:
        """Ends where its reader stops. Raises StoreError: then what was sent has no end."""
        if self.is_archive:
            yield from self._archive()
        else:
            yield from self._only_labels()

    def _only_labels(self) -> Iterator[bytes]:
        rows = self.rows
        piece = [rows.begin]
        num_characters = 0
        for row in labelled_set(self.store.db, self.snapshot):
            text = None
            if rows.is_in_rows:
                found = self._read(rows, row)
                if found is None:
                    continue
                text = found.text
            piece.append(self._next(rows, row, None, text))
            num_characters += len(piece[-1])
            if num_characters > _PIECE_BYTES:
                yield "".join(piece).encode()
                piece, num_characters = [], 0
        piece.append(rows.end)
        yield "".join(piece).encode()

    def _archive(self) -> Iterator[bytes]:
        rows = self.rows
        stream = ZipStream()
        file = _PackedText()
        file.add(rows.begin)
        now = self.store.db.clock()
        for row in labelled_set(self.store.db, self.snapshot):
            found = self._read(rows, row)
            if found is None:
                continue
            path = rows.path_of(row, found.content)
            if rows.has_files:
                stream.add(path, found.content, row.labelled_at)
            file.add(self._next(rows, row, path, found.text))
            yield from stream.ready()
        file.add(rows.end)
        yield from stream.add_text(rows.file, file.pieces(), now)
        if self.format == "label-studio":
            config = labelling_config([*self._labels], rows.layout)
            yield from stream.add_text(CONFIG, [config.encode()], now)
        yield from stream.add_text(REPORT, [self._report().encode()], now)
        yield stream.close()

    def _next(self, rows: RowFormat, row: LabelledImage, path: str | None, text: str | None) -> str:
        before = rows.between if self.num_exported else ""
        self.num_exported += 1
        self._labels[row.label] = None
        return before + rows.piece(row, path, text)

    def _read(self, rows: RowFormat, row: LabelledImage) -> _Found | None:
        """None if the input is lost, or was erased since its page was read."""
        try:
            content = self.store.blobs.get(row.image)
            return _Found(content, texts.read(content, _NO_LIMITS) if rows.is_in_rows else None)
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


class _Found(NamedTuple):
    content: bytes
    # Where rows have the inputs themselves.
    text: str | None


class _PackedText:
    """Text that is kept compressed: a line for each input of a large set."""

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
