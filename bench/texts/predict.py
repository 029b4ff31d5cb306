"""Answers a second on texts, beside FastAPI with the same ONNX file and tokenizer.

    python -m bench.texts.predict [--seconds 4] [--rounds 3] [--markdown]

Evergreen learns four classes of support tickets. The other server gets the `model.onnx` that
Evergreen exports, with its tokenizer. Both run one worker for each core. Each load is a closed
loop, and goes to one server after the other; they take turns at being first. The other one is
stopped (SIGSTOP) meanwhile. Evergreen stores every prediction.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.command_line import evergreen
from bench.compared_servers import EVERGREEN, ComparedServer, StartedServer
from bench.during_training import until_idle
from bench.http_client import post
from bench.load_generator import Generator, Plan
from bench.loop import check_torch_is_not_loaded, memory_of_workers
from bench.peers.classifier import TOKENS
from bench.peers.start import PEERS, Peer, missing
from bench.peers.start import running as running_peer
from bench.predict import Measurements, measure
from bench.tables import bar, failures, show
from bench.texts.mix import Text, describe, make_texts
from core.system.host import available_cores
from tests.support.learning import send_labels, wait_until_live
from tests.support.processes import memory, pause, resume, tree
from tests.support.server import Server
from tests.support.server import running as running_evergreen
from tests.support.tickets import tickets

PEER = replace(PEERS[0], package="tokenizers", content_type="text/plain; charset=utf-8")
_NUM_LABELS = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of FastAPI")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    reason = missing(PEER, options.peers_python)
    if reason is not None:
        raise SystemExit(f"{PEER.name}: {reason}")
    texts = make_texts()
    measured = Measurements(options.workers)
    with Generator() as generator, bar() as progress, contextlib.ExitStack() as up:
        home = Path(up.enter_context(tempfile.TemporaryDirectory())) / "home"
        server = up.enter_context(
            running_evergreen(home, workers=options.workers, EVERGREEN_INPUT="text")
        )
        model = home / "model.onnx"
        # Not by its route: the memory that this takes would count as that of a serving worker.
        evergreen(home, "export", str(teach(server)), str(model))
        servers = [
            up.enter_context(_paused(EVERGREEN, None, server.port, server.pid, texts)),
            up.enter_context(_peer(model, texts, options)),
        ]
        for i in range(options.rounds):
            for count in options.connections:
                for started in servers if i % 2 == 0 else servers[::-1]:
                    plan = replace(started.plan, seconds=options.seconds, connections=count)
                    loads = iter([(f"closed, {count}", plan)])
                    measure(started, loads, measured, generator, progress)
        for started in servers:
            measured.memory[started.compared.name].append(memory(tree(started.pid)))
        resume(server.pid)
        check_torch_is_not_loaded(server)
        of_a_worker = memory_of_workers(server)
    report(measured, options.markdown)
    print(f"\nMemory of a serving worker of {EVERGREEN} (RSS, largest): {of_a_worker}.")
    print(f"Texts: {describe(texts)}.")


def teach(server: Server) -> int:
    """Label tickets until a version that learnt them is live. Returns its number."""
    examples = tickets(_NUM_LABELS)
    seconds, run = wait_until_live(server, send_labels(server, examples), examples[0])
    if seconds is None:
        raise SystemExit(f"the version that learnt the tickets was held back: {run['reason']}")
    until_idle(server)
    return int(server.status()["version"])


@contextlib.contextmanager
def _peer(
    model: Path, texts: tuple[Text, ...], options: argparse.Namespace
) -> Iterator[StartedServer]:
    """Raises RuntimeError, TimeoutError."""
    running = running_peer(
        PEER,
        options.peers_python,
        model,
        workers=options.workers,
        decoder=TOKENS,
        body=texts[0].content,
    )
    with running as (port, pid), _paused(PEER.name, PEER, port, pid, texts) as started:
        yield started


@contextlib.contextmanager
def _paused(
    name: str, peer: Peer | None, port: int, pid: int, texts: tuple[Text, ...]
) -> Iterator[StartedServer]:
    """Stop a server until its turn comes. Its plan is that of the warm-up."""
    path = peer.path if peer else "/v1/predict"
    requests = tuple(post(path, text, stamped=False) for text in texts)
    plan = Plan(port, requests, tuple(range(len(texts))), 2, 8)
    pause(pid)
    try:
        yield StartedServer(ComparedServer(name, peer, TOKENS), pid, plan)
    finally:
        resume(pid)


def report(measured: Measurements, markdown: bool) -> None:
    rows, over = [], []
    for load_name in dict.fromkeys(load_name for load_name, _ in measured.loads):
        ours, theirs = (measured.pooled(load_name, name) for name in (EVERGREEN, PEER.name))
        for name, each in ((EVERGREEN, ours), (PEER.name, theirs)):
            rows.append([load_name, name, f"{each.throughput:.1f}", f"{each.p50_ms:.1f}"])
            rows[-1] += [f"{each.p99_ms:.1f}", failures(each.failures), str(each.shed)]
        ratios = (ours.throughput / theirs.throughput, ours.p99_ms / theirs.p99_ms)
        over.append([load_name, *(f"{ratio:.2f}" for ratio in ratios)])
    columns = ["load", "server", "answers / s", "p50 ms", "p99 ms", "failed", "shed"]
    show("Predictions of texts", columns, rows, markdown=markdown)
    show(f"{EVERGREEN} over {PEER.name}", ["load", "answers / s", "p99"], over, markdown=markdown)
    sizes = [
        [name, f"{each[-1].rss_mib:.0f}", f"{each[-1].pss_mib or 0:.0f}"]
        for name, each in measured.memory.items()
    ]
    show("Memory of all processes, MiB", ["server", "RSS", "PSS"], sizes, markdown=markdown)


if __name__ == "__main__":
    main()
