"""`evergreen export`: write a version as files, after checking it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import out
from core import audit
from core.errors import InvalidRequest
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.references import FILE_NAME as REFERENCES
from core.models.servable import load
from core.models.standalone import standalone, verify
from core.registry import versions
from core.registry.versions import Version
from core.settings import load_settings
from core.store.store import Store
from core.system.files import write_whole


def export(
    number: Annotated[int, typer.Argument(metavar="N", help="The number of the version.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file to write, or with --bundle a folder.")
    ],
    bundle: Annotated[
        bool,
        typer.Option("--bundle", help="Write the version's own files into a folder instead."),
    ] = False,
) -> None:
    """Write a version to disk as ONNX.

    The file is complete: it takes uint8 pixels, or the tokens of a text, and returns probabilities.
    It holds the classes, and of texts the tokenizer.
    """
    with home.opened_existing(load_settings()) as store:
        with store.db.read() as conn:
            version = versions.get(conn, number)
        manifest = versions.read_manifest(version, store)
        files = _bundle(store, version, manifest) if bundle else {"": _model(store, manifest)}
        audit.record_read(store.db, actor(), "model.exported", f"version {number}")
    target = path / f"evergreen-{number}.onnx" if path.is_dir() and not bundle else path
    for name, content in files.items():
        file = target / name if name else target
        _write(file, content, make_folder=bundle)
        out.print(f"{file}  {len(content):,} bytes", soft_wrap=True)


def _model(store: Store, manifest: Manifest) -> bytes:
    """Combine backbone and head into one verified model. Raises ArtifactError."""
    servable = load(manifest, store.blobs, Runtime("cpu"))
    content = standalone(
        store.blobs.get(manifest.backbone, keep=True),
        store.blobs.get(manifest.head, keep=True),
        manifest,
    )
    verify(content, servable)
    return content


def _bundle(store: Store, version: Version, manifest: Manifest) -> dict[str, bytes]:
    """Return the files by name. Loading them first checks digests and the golden output."""
    load(manifest, store.blobs, Runtime("cpu"))
    files = {
        "backbone.onnx": store.blobs.get(manifest.backbone, keep=True),
        "head.onnx": store.blobs.get(manifest.head, keep=True),
        # As it is stored, so that its digest and its signature can be checked.
        "manifest.json": store.blobs.get(version.manifest, keep=True),
    }
    if manifest.references is not None:
        files[REFERENCES] = store.blobs.get(manifest.references, keep=True)
    return files


def _write(file: Path, content: bytes, *, make_folder: bool) -> None:
    """Whole or not at all."""
    try:
        if make_folder:
            file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content, is_private=False)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be written: {error.strerror}") from error
