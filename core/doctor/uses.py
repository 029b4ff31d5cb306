"""What each blob is for: the rows that name it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, bindparam, exists, select

from core import erased, runs
from core.doctor.findings import Finding
from core.errors import ArtifactError
from core.models.manifest import Manifest
from core.registry import version_files, versions
from core.registry.versions import Version
from core.review import analyses
from core.store.schema import examples, labels, predictions
from core.store.store import Store

_PAGE = 500
_retraction = labels.alias("retraction")
_IS_RETRACTED = exists().where(_retraction.c.retracts == labels.c.id)
_IS_LABELLED = exists().where(
    labels.c.example_id == examples.c.id, labels.c.label.is_not(None), ~_IS_RETRACTED
)


def _is_between(column: Column[str]) -> ColumnElement[bool]:
    return (column >= bindparam("first")) & (column < bindparam("end"))


# Built once: building a statement takes longer than running it.
_EXAMPLES = select(examples.c.image, examples.c.id, _IS_LABELLED).where(
    _is_between(examples.c.image), erased.has_image()
)
_PREDICTED = (
    select(predictions.c.image)
    .where(_is_between(predictions.c.image), predictions.c.kept_bytes.is_not(None))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Use:
    # As in `version 3: head.onnx`, or `example 12`.
    text: str
    # Without it, something of use does not work; else it is only missed.
    is_needed: bool = True
    area: str = "versions"


Uses = dict[str, list[Use]]


def of_versions(conn: Connection, store: Store) -> tuple[Uses, list[Finding]]:
    """Of all files of versions, of their analyses, and of the backbones that unfinished runs train
    on, by digest. Also finds manifests that differ from their rows. Raises StoreError."""
    uses: Uses = defaultdict(list)
    findings = []
    for version in _all_versions(conn):
        manifest = None
        try:
            manifest = versions.read_manifest(version, store)
        except ArtifactError as error:
            findings.append(
                Finding(
                    "versions",
                    f"version {version.number} has no manifest that can be read: {error}",
                    "restore it from a backup",
                )
            )
        for name, digest in version_files.digests_of(version, manifest).items():
            uses[digest].append(Use(f"version {version.number}: {name}"))
        for digest, text in _origins(version, manifest):
            uses[digest].append(Use(text, is_needed=False))
    for run in runs.unfinished(conn):
        backbone = run.parameters.get("wanted", {}).get("backbone")
        if isinstance(backbone, dict) and isinstance(backbone.get("digest"), str):
            uses[backbone["digest"]].append(Use(f"run {run.id}: the backbone to train on"))
    for row in analyses.listing(conn):
        uses[row.digest].append(Use(f"analysis of version {row.version}", is_needed=False))
    return dict(uses), findings


def of_images(conn: Connection, prefix: str) -> Uses:
    """Of the images whose digests begin so."""
    uses: Uses = defaultdict(list)
    # Hexadecimal digits end before g.
    limits = {"first": prefix, "end": f"{prefix}g"}
    for image, example_id, is_labelled in conn.execute(_EXAMPLES, limits):
        uses[image].append(Use(f"example {example_id}", bool(is_labelled), "images"))
    for image in conn.scalars(_PREDICTED, limits):
        uses[image].append(Use("a prediction", is_needed=False, area="predictions"))
    return dict(uses)


def _all_versions(conn: Connection) -> Iterator[Version]:
    before: int | None = None
    while page := versions.listing(conn, limit=_PAGE, before=before):
        yield from (version for version in page if version.retired_at is None)
        before = page[-1].number


def _origins(version: Version, manifest: Manifest | None) -> Iterator[tuple[str, str]]:
    if manifest is not None and manifest.quantised_from is not None:
        yield manifest.quantised_from, f"version {version.number}: its backbone in float32"
    if manifest is not None and manifest.tuned_from is not None:
        yield manifest.tuned_from, f"version {version.number}: the backbone it was tuned from"
