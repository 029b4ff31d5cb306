"""Every row against every blob: what is lost, what is not needed, and what is repaired."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import runs
from core.doctor.blob_check import BlobCheck
from core.doctor.bundled import Bundled
from core.doctor.findings import Report
from core.errors import StoreError
from core.labelling import retractions
from core.labelling.intake import LabelRequest
from core.registry import version_files, versions
from core.store import lost_blobs
from core.store.blob_folder import PREFIXES, BlobFolder
from core.store.blobs import LocalBlobs, sha256
from core.store.store import Store
from tests.core.labelled_store import IMAGE, OTHER, label, predict
from tests.support import images, tiny


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the blobs of `full` are."""
    return str(tmp_path / "checked")


@pytest.fixture
def full(store: Store, url: str) -> Store:
    return fill(store, url)


@pytest.fixture
def sqlite_full(sqlite_store: Store, url: str) -> Store:
    return fill(sqlite_store, url)


def fill(store: Store, url: str) -> Store:
    """One version, one example and one prediction, each with all blobs."""
    filled = Store(store.db, LocalBlobs(Path(url)))
    tiny.publish(filled, tiny.make_manifest(filled.blobs))
    label(filled)
    predict(filled, OTHER)
    return filled


def check(store: Store, url: str, *, begin: str = "00", **options: bool) -> Report:
    report = Report()
    check = BlobCheck(store, BlobFolder(url), report, options.pop("repair", False), **options)
    check.bundled = Bundled(lambda _: iter([tiny.backbone_onnx()]))
    check.run(lambda *_: None, begin)
    return report


def problems(report: Report) -> list[str]:
    return [finding.text for finding in report.findings if finding.is_open]


def recorded(store: Store) -> dict[str, str]:
    with store.db.read() as conn:
        return {digest: lost.problem for digest, lost in lost_blobs.read(conn).items()}


def damage(store: Store, digest: str) -> None:
    store.blobs._path(digest).write_bytes(b"damaged")  # type: ignore[attr-defined]


def test_sound_store_has_no_problem(full: Store, url: str) -> None:
    report = check(full, url)
    assert (report.is_sound, report.num_blobs, report.num_orphans) == (True, 5, 0)
    assert report.num_bytes > len(IMAGE) + len(OTHER)


@pytest.mark.parametrize("reads", [True, False])
def test_missing_blobs_are_named_by_their_rows_and_recorded(
    full: Store, url: str, reads: bool
) -> None:
    with full.db.read() as conn:
        version = versions.get(conn, 1)
    full.blobs.delete(version.head)
    full.blobs.delete(sha256(IMAGE))
    found = problems(check(full, url, reads=reads))
    assert sorted(found) == [
        f"example 1: blob {sha256(IMAGE)} is missing",
        f"version 1: head.onnx: blob {version.head} is missing",
    ]
    assert recorded(full) == {version.head: "missing", sha256(IMAGE): "missing"}


def test_damage_is_found_by_reading_and_kept_in_mind_by_a_quick_check(
    sqlite_full: Store, url: str
) -> None:
    damage(sqlite_full, sha256(IMAGE))
    assert problems(check(sqlite_full, url, reads=False)) == []
    assert problems(check(sqlite_full, url)) == [f"example 1: blob {sha256(IMAGE)} is damaged"]
    assert len(problems(check(sqlite_full, url, reads=False))) == 1
    sqlite_full.blobs.put(IMAGE)
    assert problems(check(sqlite_full, url, reads=False)) == []
    assert recorded(sqlite_full) == {}


def test_what_nothing_needs_is_no_problem(sqlite_full: Store, url: str) -> None:
    sqlite_full.blobs.delete(sha256(OTHER))  # of a prediction without a label
    event = label(sqlite_full, LabelRequest("dog"), images.png(24, 20, 9)).event
    retractions.retract(sqlite_full, event.id, who="me", now=2.0)
    sqlite_full.blobs.delete(sha256(images.png(24, 20, 9)))
    report = check(sqlite_full, url)
    assert report.is_sound
    assert recorded(sqlite_full) == {}
    texts = [finding.text for finding in report.findings]
    assert "inputs of predictions without a label that are gone: 1" in texts
    assert f"not there, and not needed: example {event.example_id}" in texts


def test_blobs_that_no_row_names_are_counted_and_stay(sqlite_full: Store, url: str) -> None:
    orphan = sqlite_full.blobs.put(b"nobody's")
    assert check(sqlite_full, url, repair=True).num_orphans == 1
    assert sqlite_full.blobs.has(orphan)


def test_bundled_blob_is_stored_again_by_a_repair_only(sqlite_full: Store, url: str) -> None:
    digest = sha256(tiny.backbone_onnx())
    damage(sqlite_full, digest)
    assert len(problems(check(sqlite_full, url))) == 1
    report = check(sqlite_full, url, repair=True)
    assert [finding.repaired for finding in report.findings if finding.is_problem] == [
        "stored again, as it comes with this release"
    ]
    assert sqlite_full.blobs.get(digest) == tiny.backbone_onnx()
    assert recorded(sqlite_full) == {}


def test_backbone_that_a_run_waits_for_is_checked(sqlite_full: Store, url: str) -> None:
    wanted = {"backbone": {"digest": "ab" * 32}}
    with sqlite_full.db.write() as conn:
        run, _ = runs.request(conn, trigger="request", now=1.0, tier="backbone", wanted=wanted)
    (found,) = problems(check(sqlite_full, url))
    assert found == f"run {run.id}: the backbone to train on: blob {'ab' * 32} is missing"


def test_missing_references_and_manifest_of_a_version_are_found(
    sqlite_full: Store, url: str
) -> None:
    manifest = tiny.make_manifest(sqlite_full.blobs, head_seed=5, references="cd" * 32)
    number = tiny.publish(sqlite_full, manifest)
    assert problems(check(sqlite_full, url)) == [
        f"version {number}: references.safetensors: blob {'cd' * 32} is missing"
    ]
    with sqlite_full.db.read() as conn:
        sqlite_full.blobs.delete(versions.get(conn, number).manifest)
    found = problems(check(sqlite_full, url))
    assert any("manifest.json: blob" in text for text in found)
    with sqlite_full.db.read() as conn:
        lost = version_files.recorded_lost(conn, [versions.get(conn, number)])
    assert lost == {number: {"manifest.json": "missing"}}


@pytest.mark.parametrize("is_there", [True, False])
def test_store_that_is_empty_or_gone_loses_nothing(
    sqlite_store: Store, tmp_path: Path, is_there: bool
) -> None:
    label(sqlite_store)
    if is_there:
        (tmp_path / "unmounted").mkdir()
    report = check(sqlite_store, str(tmp_path / "unmounted"))
    assert report.is_unreachable
    assert recorded(sqlite_store) == {}


def test_interrupted_check_says_where_it_ended_and_goes_on_there(
    sqlite_full: Store, url: str
) -> None:
    sqlite_full.blobs.delete(sha256(IMAGE))
    last = sha256(IMAGE)[:2]

    class Interrupted(BlobFolder):
        def digests(self, prefix: str) -> set[str]:
            if prefix == last:
                raise KeyboardInterrupt
            return super().digests(prefix)

    report = Report()
    BlobCheck(sqlite_full, Interrupted(url), report, repair=False).run(lambda *_: None)
    assert report.resume_from == last
    rest = check(sqlite_full, url, begin=last)
    assert problems(rest) == [f"example 1: blob {sha256(IMAGE)} is missing"]
    assert report.num_blobs + rest.num_blobs == 4


def test_store_that_stops_answering_ends_the_check(sqlite_full: Store, url: str) -> None:
    class Failing(BlobFolder):
        def digests(self, prefix: str) -> set[str]:
            if prefix == "80":
                raise StoreError("it is away")
            return super().digests(prefix)

    report = Report()
    BlobCheck(sqlite_full, Failing(url), report, repair=False).run(lambda *_: None)
    assert (report.is_unreachable, report.resume_from) == (True, "80")
    assert "it is away" in problems(report)[-1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_that_its_permissions_hide_is_not_lost(sqlite_full: Store, url: str) -> None:
    path = sqlite_full.blobs._path(sha256(IMAGE))  # type: ignore[attr-defined]
    path.chmod(0)
    assert len(problems(check(sqlite_full, url))) == 1
    assert recorded(sqlite_full) == {}
    assert check(sqlite_full, url, repair=True).is_sound
    assert check(sqlite_full, url).is_sound


@pytest.fixture
def memory_url() -> Iterator[str]:
    import fsspec

    yield "memory://doctor-test"
    fsspec.filesystem("memory").store.clear()


def test_remote_store_is_checked_too(sqlite_store: Store, memory_url: str) -> None:
    from core.store.store import open_blobs

    remote = Store(sqlite_store.db, open_blobs(memory_url))
    label(remote)
    label(remote, image=OTHER)
    remote.blobs.delete(sha256(OTHER))
    assert problems(check(remote, memory_url)) == [f"example 2: blob {sha256(OTHER)} is missing"]


def test_progress_covers_every_sub_folder(sqlite_full: Store, url: str) -> None:
    seen: list[int] = []
    check = BlobCheck(sqlite_full, BlobFolder(url), Report(), repair=False)
    check.run(lambda done, *_: seen.append(done))
    assert seen == list(range(1, len(PREFIXES) + 1))
