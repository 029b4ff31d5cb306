"""The blobs that are bundled with this release, so that a lost one can be stored again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.errors import SpecMismatch
from core.inputs.kind import InputKind
from core.models.head_onnx import head_onnx
from core.models.pretrained import choice as pretrained
from core.store.blobs import sha256
from core.store.store import Store


class Bundled:
    """Made when the first one is restored: it takes seconds, and 50 MB of memory."""

    def __init__(self, load: Callable[[InputKind], Iterator[bytes]] | None = None) -> None:
        self._load = load or _contents
        self._by_digest: dict[str, bytes] | None = None

    def restore(self, digest: str, store: Store) -> bool:
        """Store the blob again if it is a bundled one. Raises StoreError."""
        if self._by_digest is None:
            self._by_digest = {sha256(content): content for content in self._load(store.kind)}
        content = self._by_digest.get(digest)
        if content is None:
            return False
        # Deleted first: a store may keep what it has, though it is damaged.
        store.blobs.delete(digest)
        store.blobs.put(content)
        return True


def _contents(kind: InputKind) -> Iterator[bytes]:
    for name in pretrained.names(kind):
        try:
            model = pretrained.load(name)
        except SpecMismatch:  # its package is not installed
            continue
        yield model.backbone
        yield head_onnx(model.head.weights_DK, model.head.bias_K)
        if model.in_float32 is not None:
            yield model.in_float32
