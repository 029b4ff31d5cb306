"""What labelled inputs come from: a zip archive, a folder on disk, or a table."""

from __future__ import annotations

from typing import Protocol

from core.exchange.reading.items import Item
from core.exchange.reading.material import Material
from core.exchange.reading.source_file import SourceFile


class Unreadable(Exception):
    """One file cannot be read, for the reason that the text gives. The others may be well."""


class Source(Protocol):
    material: Material

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def files(self) -> list[SourceFile]:
        """All of them, in the same order each time."""

    @property
    def may_have_wrapper(self) -> bool:
        """Whether a single folder at the top may be there by the way in which it was packed."""

    def labelled(self) -> list[Item] | None:
        """Its items, if the source is a table, which has labels. Raises InvalidArchive."""

    def read(self, file: SourceFile, max_bytes: int) -> bytes:
        """Raises Unreadable."""
