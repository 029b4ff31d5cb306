"""The servers that `bench.predict` compares: Evergreen, other checkouts of it, and its peers.

Each is started, and is stopped (SIGSTOP) while another one is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.http_client import Request, post
from bench.load_generator import Plan
from bench.models import Model
from bench.peers.start import PEERS, Peer, missing
from bench.peers.start import running as running_peer
from bench.photo_mix import Photo, request_order
from tests.support.processes import pause, resume
from tests.support.server import ROOT
from tests.support.server import running as running_evergreen

EVERGREEN = "Evergreen"


@dataclass(frozen=True, slots=True)
class ComparedServer:
    name: str
    # None for Evergreen itself.
    peer: Peer | None
    # `plain`, as in tutorials, or `evergreen`; `tokens` of texts.
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
        """Start the server. Yields its port and pid. Raises RuntimeError, TimeoutError."""
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
                self.peer, python, path, workers=workers, decoder=self.decoder, body=image
            ) as port_and_pid:
                yield port_and_pid


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A compared server that runs, and the plan of its warm-up."""

    compared: ComparedServer
    pid: int
    plan: Plan


@contextlib.contextmanager
def paused(
    compared: ComparedServer, model: Model, photos: tuple[Photo, ...], options: argparse.Namespace
) -> Iterator[StartedServer]:
    """Start a server, and stop it until its turn comes. Raises RuntimeError, TimeoutError."""
    running = compared.running(model, photos[0].content, options.workers, options.peers_python)
    with running as (port, pid):
        requests = compared.requests(photos, stamped=options.stamped)
        plan = Plan(port, requests, request_order(photos), 2, 8, is_stamped=options.stamped)
        pause(pid)
        try:
            yield StartedServer(compared, pid, plan)
        finally:
            resume(pid)


def select_servers(
    decoders: list[str], python: str, peers: list[str] | None, checkouts: list[Path]
) -> tuple[list[ComparedServer], list[str]]:
    """Return Evergreen, then its other checkouts and its peers, and why other peers are left out.

    `peers` selects peers by the start of their names. None selects all.
    """
    selected, reasons = [ComparedServer(EVERGREEN, None, "evergreen")], []
    for root in checkouts:
        selected.append(
            ComparedServer(f"{EVERGREEN} in {root.name}", None, "evergreen", root.resolve())
        )
    for peer in PEERS:
        if peers is not None and not peer.name.startswith(tuple(peers)):
            continue
        reason = missing(peer, python)
        if reason is not None:
            reasons.append(f"{peer.name}: {reason}")
            continue
        for decoder in decoders:
            suffix = ", same decoder" if decoder == "evergreen" else ""
            selected.append(ComparedServer(f"{peer.name}{suffix}", peer, decoder))
    return selected, reasons
