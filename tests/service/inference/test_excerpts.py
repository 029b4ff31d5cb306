from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import BlobMissing
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS
from service.inference import excerpts
from service.inference.excerpts import Excerpts


class Blobs:
    """Texts by name. `slow` waits for `released`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.reads: list[str] = []

    def get(self, digest: str) -> bytes:
        self.reads.append(digest)
        if digest == "lost":
            raise BlobMissing("it is missing")
        if digest == "slow":
            self.released.wait(5)
        return f"the text of {digest}".encode()


def made(kind: Any = TOKENS, now: float = 0.0) -> tuple[Excerpts, Blobs, SimpleNamespace]:
    blobs, time = Blobs(), SimpleNamespace(now=now)
    store: Any = SimpleNamespace(blobs=blobs, kind=kind)
    return Excerpts(store, lambda: time.now), blobs, time


def test_what_is_lost_or_slow_has_no_excerpt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "WITHIN_S", 0.05)
    read, blobs, _ = made()
    assert read.read(["a", "lost", "slow", "a"]) == {"a": "the text of a"}
    blobs.released.set()
    assert read.read(["slow"]) == {"slow": "the text of slow"}
    read.stop()


def test_excerpt_is_read_once_in_some_minutes() -> None:
    read, blobs, time = made()
    for _ in range(2):
        assert read.read(["a"]) == {"a": "the text of a"}
    assert blobs.reads == ["a"]
    time.now = 1_000.0
    read.read(["b"])
    read.forget("b")
    read.read(["a", "b"])
    assert blobs.reads[:2] == ["a", "b"]
    assert sorted(blobs.reads[2:]) == ["a", "b"]
    read.stop()


def test_images_are_not_read_for_excerpts() -> None:
    read, blobs, _ = made(PIXELS)
    assert read.read(["a"]) == {}
    assert blobs.reads == []
