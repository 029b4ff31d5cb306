"""Damaged versions are promoted in a running server.

The champion stays, the failure is reported, and no worker tries again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from core.models.manifest import Manifest
from core.registry import versions
from core.settings import Settings
from core.store.schema import versions as table
from core.store.store import Store
from tests.end_to_end import tagged_versions
from tests.end_to_end.consistency_clients import versions_answered
from tests.end_to_end.tagged_versions import SOON_S
from tests.support import tiny
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end

FILES = ("backbone", "head", "manifest")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def missing(path: Path) -> None:
    path.unlink()


NUM_WORKERS = 2
HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncated, "is damaged"),
    "bit-flipped": (bit_flipped, "is damaged"),
    "missing": (missing, "is missing"),
}


def blob(server: Server, digest: str) -> Path:
    return Path(Settings(home=server.home).resolved_blob_url) / digest[:2] / digest


def publish(store: Store) -> int:
    """Publish a version none of whose files is in use."""
    with store.db.read() as conn:
        return tagged_versions.publish(store, backbone_seed=(versions.newest_number(conn) or 0) + 1)


def put(server: Server, number: int) -> httpx.Response:
    return httpx.put(f"{server.url}/v1/champion", json={"version": number}, timeout=60)


def failures(server: Server) -> float:
    scraped = httpx.get(f"{server.url}/metrics", timeout=30).text
    found = [x for x in scraped.splitlines() if x.startswith("evergreen_swap_failures_total ")]
    return sum(float(line.split()[1]) for line in found)


def assert_refused(server: Server, number: int, why: str) -> None:
    champion = httpx.get(f"{server.url}/v1/champion", timeout=30).json()["version"]
    before = failures(server)
    answer = put(server, number)
    assert answer.status_code == 409, answer.text
    assert answer.json()["code"] == "promotion-failed"
    assert why in answer.json()["detail"]
    assert versions_answered(server) == {champion}
    if "cannot be loaded by any worker" in answer.json()["detail"]:
        assert failures(server) == before
        return  # seen before any worker tried
    problems = [each for worker in server.status()["workers"] for each in worker["problems"]]
    assert any(why in problem for problem in problems)
    assert 1 <= failures(server) - before <= server.num_workers
    attempts = tagged_versions.count_by_worker(server, "version.load_failed", number)
    assert set(attempts.values()) == {1}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", HARMS)
def test_damaged_file_leaves_the_champion(
    server: Server, store: Store, file: str, harm: str
) -> None:
    number = publish(store)
    with store.db.read() as conn:
        digest = getattr(versions.get(conn, number), file)
    do_harm, why = HARMS[harm]
    do_harm(blob(server, digest))
    assert_refused(server, number, why)


def another_head(store: Store, right: Manifest) -> Manifest:
    return dataclasses.replace(right, head=store.blobs.put(tiny.head(len(right.classes) + 1)))


def another_backbone(store: Store, right: Manifest) -> Manifest:
    with store.db.read() as conn:
        return dataclasses.replace(right, backbone=versions.get(conn, 1).backbone)


def one_class_less(_store: Store, right: Manifest) -> Manifest:
    return dataclasses.replace(right, classes=right.classes[1:])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (another_head, "outputs"),
        (another_backbone, "do not fit together"),
        (one_class_less, "outputs"),
    ],
)
def test_files_that_do_not_fit_leave_the_champion(
    server: Server, store: Store, spoil: Callable[[Store, Manifest], Manifest], why: str
) -> None:
    number = tiny.publish(store, spoil(store, tagged_versions.manifest(store)))
    assert_refused(server, number, why)


def test_manifest_with_other_classes_than_were_published_leaves_the_champion(
    server: Server, store: Store
) -> None:
    number = publish(store)
    with store.db.write() as conn:
        right = versions.read_manifest(versions.get(conn, number), store)
        wrong = dataclasses.replace(right, classes=right.classes[::-1])
        digest = store.blobs.put(wrong.to_bytes())
        conn.execute(update(table).where(table.c.number == number).values(manifest=digest))
    assert_refused(server, number, "classes")


def test_loaded_version_is_promoted_although_its_files_are_gone(
    server: Server, store: Store
) -> None:
    before, after = publish(store), publish(store)
    assert put(server, before).status_code == 200
    assert put(server, after).status_code == 200
    with store.db.read() as conn:
        bundle = versions.get(conn, before)
    for file in FILES:
        missing(blob(server, getattr(bundle, file)))
    answer = put(server, before)
    assert answer.status_code == 200, answer.text
    assert versions_answered(server) == {before}


def test_failed_version_is_not_tried_again_and_a_good_version_follows(
    server: Server, store: Store
) -> None:
    number = publish(store)
    with store.db.read() as conn:
        bit_flipped(blob(server, versions.get(conn, number).head))
    assert_refused(server, number, "is damaged")
    failed = failures(server)
    good = publish(store)
    assert put(server, good).status_code == 200
    assert versions_answered(server) == {good}
    # Workers poll ten times between two heartbeats.
    now = time.time()
    wait_until(
        lambda: all(worker.last_seen > now for worker in tagged_versions.live(store).values()),
        SOON_S,
        "the next heartbeat of every worker",
    )
    assert failures(server) == failed
    attempts = tagged_versions.count_by_worker(server, "version.load_failed", number)
    assert set(attempts.values()) == {1}
    assert tagged_versions.events(server, "swap.failed") == []
