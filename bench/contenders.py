"""Who is measured by `bench.predict`: Evergreen and its peers, each as a server that is up, and
stands still while another one is measured."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.images import Photo, deck
from bench.load import Plan
from bench.models import Model
from bench.peers.start import PEERS, Peer, missing
from bench.peers.start import running as running_peer
from bench.wire import Request, post
from tests.support.processes import pause, resume
from tests.support.server import ROOT
from tests.support.server import running as running_evergreen

EVERGREEN = "Evergreen"


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    # None: Evergreen itself.
    peer: Peer | None
    # plain, as tutorials decode, or evergreen.
    decoder: str
    # The checkout of Evergreen.
    root: Path = ROOT

    def requests(self, photos: tuple[Photo, ...], *, stamped: bool) -> tuple[Request, ...]:
        path = self.peer.path if self.peer else "/v1/predict"
        form_field = self.peer.form_field if self.peer else None
        return tuple(post(path, photo, form_field=form_field, stamped=stamped) for photo in photos)

    @contextlib.contextmanager
    def running(
        self, model: Model, image: bytes, workers: int, python: str
    ) -> Iterator[tuple[int, int]]:
        """Gives the port and the pid. Raises RuntimeError, TimeoutError."""
        with tempfile.TemporaryDirectory() as folder:
            if self.peer is None:
                home = Path(folder) / "home"
                model.install(home)
                with running_evergreen(home, workers=workers, root=self.root) as server:
                    yield server.port, server.pid
                return
            path = Path(folder) / "model.onnx"
            path.write_bytes(model.content)
            with running_peer(
                self.peer, python, path, workers=workers, decoder=self.decoder, image=image
            ) as found:
                yield found


@dataclass(frozen=True, slots=True)
class Server:
    """A contender that is up."""

    contender: Contender
    pid: int
    plan: Plan


@contextlib.contextmanager
def paused(
    contender: Contender, model: Model, photos: tuple[Photo, ...], options: argparse.Namespace
) -> Iterator[Server]:
    """Up, and stopped until its turn comes. Raises RuntimeError, TimeoutError."""
    running = contender.running(model, photos[0].content, options.workers, options.peers_python)
    with running as (port, pid):
        requests = contender.requests(photos, stamped=options.stamped)
        plan = Plan(port, requests, deck(photos), 2, 8, is_stamped=options.stamped)
        pause(pid)
        try:
            yield Server(contender, pid, plan)
        finally:
            resume(pid)


def contenders(
    decoders: list[str], python: str, peers: list[str] | None, checkouts: list[Path]
) -> tuple[list[Contender], list[str]]:
    """Evergreen first, then other checkouts of it; and why others cannot be measured. `peers` says
    how the names of those begin that are wanted; None: all."""
    found, reasons = [Contender(EVERGREEN, None, "evergreen")], []
    for root in checkouts:
        found.append(Contender(f"{EVERGREEN} in {root.name}", None, "evergreen", root.resolve()))
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
