"""Loading: the files of an import are read, checked, decoded and stored, before they are labelled.

No lock is held meanwhile, and no row is written. What is known and unchanged is not decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

from core.errors import (
    ImageTooCostly,
    ImageTooLarge,
    InputError,
    TextTooLong,
    UndecodableImage,
    UndecodableText,
)
from core.exchange.importing.known import Known, decide, known_labels
from core.exchange.reading.items import Item, Kind
from core.exchange.reading.source import Source, Unreadable
from core.inputs import kinds
from core.inputs.kind import InputKind, Limits
from core.labelling import intake
from core.labelling.examples import NewExample
from core.settings import Settings
from core.store.blobs import sha256
from core.store.store import Store

# Images are looked up together, unless they take more memory than this.
_MAX_BYTES = 32_000_000
# Where the message says more, it follows: it names no more of an input than a position.
_WHY: dict[type[InputError], str] = {
    ImageTooLarge: "too large",
    ImageTooCostly: "too costly to decode",
    UndecodableImage: "not a readable image",
    TextTooLong: "too long: {}",
    UndecodableText: "not a readable text: {}",
}


class Interrupted(Exception):
    """The process is to end."""


@dataclass(frozen=True, slots=True)
class Loaded:
    item: Item
    # What becomes of it, as far as its own bytes say.
    kind: Kind
    why: str = ""
    # The digest of what is kept of its bytes; empty: they could not be read.
    image: str = ""
    # For what is to be labelled.
    new: NewExample | None = None


@dataclass(frozen=True, slots=True)
class Loader:
    source: Source
    # None: nothing is stored yet.
    store: Store | None
    kind: InputKind
    limits: Limits
    max_bytes: int
    is_dry_run: bool = False
    # Where images are stored while others are decoded: a disk makes several durable at once. None:
    # in the same thread.
    writers: Executor | None = None
    # Asked before each image, as large ones take long. Then `load` raises Interrupted.
    should_stop: Callable[[], bool] = bool

    @staticmethod
    def of(
        source: Source,
        store: Store | None,
        settings: Settings,
        *,
        dry: bool = False,
        writers: Executor | None = None,
        should_stop: Callable[[], bool] = bool,
    ) -> Loader:
        kind = kinds.requested(settings.input) if store is None else store.kind
        limits = settings.limits
        max_bytes = settings.max_body_bytes
        return Loader(source, store, kind, limits, max_bytes, dry, writers, should_stop)

    def load(self, items: Sequence[Item]) -> list[Loaded]:
        """In their order. `items` are few. Raises StoreError."""
        return [loaded for part in self._parts(items) for loaded in self._load_part(part)]

    def identify(self, item: Item) -> str:
        """The digest that `load` would give. Empty: it is not read."""
        try:
            content = b"" if item.kind else self._content(item)
        except Unreadable:
            return ""
        return sha256(self.kind.kept(content)) if content else ""

    def _parts(self, items: Sequence[Item]) -> Iterator[list[tuple[Item, bytes | Loaded]]]:
        part: list[tuple[Item, bytes | Loaded]] = []
        num_bytes = 0
        for item in items:
            content = self._read(item)
            part.append((item, content))
            num_bytes += len(content) if isinstance(content, bytes) else 0
            if num_bytes > _MAX_BYTES:
                yield part
                part, num_bytes = [], 0
        yield part

    def _read(self, item: Item) -> bytes | Loaded:
        if item.kind is not None:
            return Loaded(item, item.kind, item.why)
        try:
            return self._content(item) or Loaded(item, "unreadable", "empty")
        except Unreadable as error:
            return Loaded(item, "unreadable", str(error))

    def _content(self, item: Item) -> bytes:
        """Raises Unreadable."""
        content = item.file.content
        return self.source.read(item.file, self.max_bytes) if content is None else content

    def _load_part(self, part: Sequence[tuple[Item, bytes | Loaded]]) -> list[Loaded]:
        digests: dict[int, tuple[str, str, bytes]] = {}
        for at, (_, content) in enumerate(part):
            if isinstance(content, bytes):
                kept = self.kind.kept(content)
                whole = sha256(content)
                digests[at] = whole, whole if kept is content else sha256(kept), kept
        known = self._known({digest for each in digests.values() for digest in each[:2]})
        done, stored = [], []
        for at, (item, content) in enumerate(part):
            if isinstance(content, Loaded):
                done.append(content)
                continue
            whole, image, kept = digests[at]
            if whole in known:  # an earlier release has stored it whole
                image, kept = whole, content
            done.append(self._check(item, image, kept, known.get(image, Known())))
            if done[-1].new is not None:
                stored.append(self._put(kept, image))
        for each in stored:
            if each is not None:
                each.result()
        return done

    def _put(self, content: bytes, image: str) -> Future[str] | None:
        if self.store is None or self.is_dry_run:
            return None
        put = partial(self.store.blobs.put, content, digest=image)
        if self.writers is not None:
            return self.writers.submit(put)
        put()
        return None

    def _known(self, digests: set[str]) -> dict[str, Known]:
        if self.store is None or not digests:
            return {}
        with self.store.db.read() as conn:
            return known_labels(conn, digests)

    def _check(self, item: Item, image: str, content: bytes, known: Known) -> Loaded:
        if self.should_stop():
            raise Interrupted
        kind = decide(item.label, known)
        if kind in ("already", "kept corrections"):
            return Loaded(item, kind, image=image)
        try:
            new = intake.prepare(content, self.limits, "import", self.kind)
        except tuple(_WHY) as error:
            return Loaded(item, "unreadable", _WHY[type(error)].format(error), image)
        return Loaded(item, kind, image=image, new=new)
