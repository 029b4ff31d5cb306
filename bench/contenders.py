"""Who is measured by `bench.predict`: Evergreen and its peers, each as a server that is up."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.images import Photo
from bench.peers.start import PEERS, Peer, missing
from bench.peers.start import running as running_peer
from bench.server import running as running_evergreen
from bench.wire import Request, post
from core import compose, versions
from core.bootstrap import ensure_first_version
from core.settings import Settings
from core.store import open_store

EVERGREEN = "Evergreen"


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    # None: Evergreen itself.
    peer: Peer | None
    # plain, as tutorials decode, or evergreen.
    decoder: str

    def requests(self, photos: tuple[Photo, ...], *, stamped: bool) -> tuple[Request, ...]:
        path = self.peer.path if self.peer else "/v1/predict"
        form_field = self.peer.form_field if self.peer else None
        return tuple(post(path, photo, form_field=form_field, stamped=stamped) for photo in photos)

    @contextlib.contextmanager
    def running(
        self, model: Path, image: bytes, workers: int, python: str
    ) -> Iterator[tuple[int, int]]:
        """Gives the port and the pid. Raises RuntimeError, TimeoutError."""
        if self.peer is not None:
            with running_peer(
                self.peer, python, model, workers=workers, decoder=self.decoder, image=image
            ) as found:
                yield found
        else:
            with (
                tempfile.TemporaryDirectory() as folder,
                running_evergreen(Path(folder) / "home", workers=workers) as server,
            ):
                yield server.port, server.pid


def contenders(
    decoders: list[str], python: str, peers: list[str] | None = None
) -> tuple[list[Contender], list[str]]:
    """Evergreen first; and why others cannot be measured. `peers` says how the names of those
    begin that are wanted; None: all."""
    found, reasons = [Contender(EVERGREEN, None, "evergreen")], []
    for peer in PEERS:
        if peers is not None and not peer.name.startswith(tuple(peers)):
            continue
        reason = missing(peer, python)
        if reason is not None:
            reasons.append(f"{peer.name}: {reason}")
            continue
        for decoder in decoders:
            suffix = ", same decoder" if decoder == "evergreen" else ""
            found.append(Contender(f"{peer.name}{suffix}", peer, decoder))
    return found, reasons


def first_model() -> tuple[bytes, int]:
    """Version 1 as one ONNX file, and the side of its pixels."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(home=Path(folder)))
        ensure_first_version(store)
        with store.db.read() as conn:
            version = versions.get(conn, 1)
        manifest = versions.read_manifest(version, store.blobs)
        parts = store.blobs.get(manifest.backbone), store.blobs.get(manifest.head)
        store.db.close()
    return compose.standalone(*parts, manifest), manifest.pixels.size_px
