"""The files of versions in the blob store: which are lost, and whether a version can be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from core.errors import ArtifactError, PromotionFailed, SignatureMismatch
from core.models.manifest import Manifest
from core.models.references import FILE_NAME as REFERENCES
from core.registry import versions, workers
from core.registry.versions import Version
from core.store import lost_blobs
from core.store.store import Store


def digests_of(version: Version, manifest: Manifest | None = None) -> dict[str, str]:
    """The SHA-256 of each file, by its name. Without the manifest, those that the row names."""
    files = {
        "manifest.json": version.manifest,
        "backbone.onnx": version.backbone,
        "head.onnx": version.head,
    }
    if manifest is not None and manifest.references is not None:
        files[REFERENCES] = manifest.references
    return files


def recorded_lost(conn: Connection, listed: Iterable[Version]) -> dict[int, dict[str, str]]:
    """How files are lost, by number and name, as it was recorded: of those that lost some."""
    lost = lost_blobs.read(conn)
    found = {
        version.number: {
            name: lost[digest].problem
            for name, digest in digests_of(version).items()
            if digest in lost
        }
        for version in (listed if lost else ())
    }
    return {number: files for number, files in found.items() if files}


def find_lost(
    version: Version, store: Store, *, thorough: bool = False
) -> dict[str, ArtifactError]:
    """What is wrong with its files in the blob store, by name. Whether large ones are intact is
    read only if `thorough`. Raises StoreError."""
    problems: dict[str, ArtifactError] = {}
    manifest = None
    try:
        manifest = versions.read_manifest(version, store)
    except ArtifactError as error:
        problems["manifest.json"] = error
    for name, digest in digests_of(version, manifest).items():
        if name in problems:
            continue
        try:
            if thorough:
                with store.blobs.file(digest):
                    pass
            else:
                store.blobs.size(digest)
        except ArtifactError as error:
            problems[name] = error
    return problems


def note(store: Store, version: Version, *, thorough: bool = False) -> dict[str, ArtifactError]:
    """`find_lost`, and record it: also that what was lost is there again. Raises StoreError."""
    problems = find_lost(version, store, thorough=thorough)
    files = digests_of(version)
    lost = {
        digest: problem
        for name, digest in files.items()
        if name in problems and (problem := lost_blobs.problem_of(problems[name])) is not None
    }
    with store.db.read() as conn:
        before = lost_blobs.read(conn)
    there = {digest for name, digest in files.items() if name not in problems}
    back = {d for d in there & before.keys() if thorough or before[d].problem == "missing"}
    if back or lost.keys() - before.keys():
        with store.db.write(durable=False) as conn:
            lost_blobs.record(conn, lost, store.db.clock())
            lost_blobs.clear(conn, back)
    return problems


def describe(problems: Mapping[str, ArtifactError]) -> dict[str, str]:
    """Each as missing, damaged or unsigned, by the name of the file."""
    return {name: _describe(error) for name, error in problems.items()}


def _describe(error: ArtifactError) -> str:
    if isinstance(error, SignatureMismatch):
        return "unsigned"
    return lost_blobs.problem_of(error) or "damaged"


def check_loadable(number: int, store: Store) -> None:
    """Before a promotion: whether what the version consists of is there, unless every live worker
    has loaded it. Not whether it is intact, which each worker finds out.

    Raises UnknownVersion, VersionRetired, PromotionFailed, StoreError.
    """
    with store.db.read() as conn:
        version = versions.get_kept(conn, number)
        serving = workers.live(conn, store.db.clock(), "serving")
    if serving and all(number in worker.ready for worker in serving):
        return
    for error in note(store, version).values():
        raise PromotionFailed(
            f"version {number} cannot be loaded by any worker: {error}; the champion stays live"
        ) from error
