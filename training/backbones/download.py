"""A library's pretrained weights: where they lie, and bringing them into a folder, checked.

Owns the download, its hash and its progress bar. Does not read what is in the file
(`training/backbones/weights.py`), and loads no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from core.errors import BackboneUnavailable, ChecksumMismatch

#: Where weights are kept unless a caller says otherwise. May be deleted at any time.
DEFAULT_CACHE = Path("~/.cache/evergreen/pretrained")

_TIMEOUT_S = 30
_CHUNK = 1 << 20
# torch's own convention for published weights: NAME-<first digits of the sha256>.pth
_HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Source(NamedTuple):
    """Either a file of a Hugging Face repository, or a URL whose name ends in its hash."""

    url: str = ""
    repository: str = ""
    file: str = "model.safetensors"
    #: Prints how to make the same weights as safetensors: for a machine that has a network.
    recipe: str = ""

    def __str__(self) -> str:
        return self.url or f"https://huggingface.co/{self.repository}/blob/main/{self.file}"


def fetch(source: Source, cache: Path | None = None, *, progress: bool = True) -> Path:
    """Give the file, downloaded unless it is in the cache already. Its hash is checked each time.

    Raises BackboneUnavailable where it cannot be had, ChecksumMismatch if it is another file.
    """
    folder = (cache or DEFAULT_CACHE).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if source.url:
            return _from_url(source.url, folder, progress)
        if source.repository:
            return _from_repository(source, folder)
    except OSError as error:
        reason = str(getattr(error, "reason", error)).strip().split("\n")[0].rstrip(".")
        raise BackboneUnavailable(
            f"pretrained weights cannot be downloaded from {source}: {reason}. {_remedy(source)}"
        ) from error
    raise BackboneUnavailable(
        f"the library publishes no weights for it that are safe to read. {_remedy(source)}"
    )


def _remedy(source: Source) -> str:
    return (
        "Give them as a file instead, --weights FILE.safetensors; where there is a network, this "
        f"makes it: {source.recipe}"
    )


def _from_url(url: str, folder: Path, progress: bool) -> Path:
    name = Path(urlparse(url).path).name
    found = _HASH.search(name)
    if found is None:
        raise OSError("the file is published without a hash")
    target = folder / name
    if target.exists() and _sha256(target).startswith(found[1]):
        return target
    descriptor, part = tempfile.mkstemp(dir=folder, prefix=name, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            _download(url, file.write, name, progress)
        _check(Path(part), found[1], url)
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
    return target


def _download(url: str, write: Callable[[bytes], object], name: str, progress: bool) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response,
        Progress(*columns, console=Console(stderr=True), disable=not progress) as bar,
    ):
        size = response.headers.get("Content-Length")
        task = bar.add_task(name, total=int(size) if size else None)
        while chunk := response.read(_CHUNK):
            write(chunk)
            bar.advance(task, len(chunk))


def _from_repository(source: Source, folder: Path) -> Path:
    """timm brings this library; it shows a progress bar and resumes what broke off."""
    from huggingface_hub import hf_hub_download

    try:  # what is there is taken as it is, also where there is no network
        found = hf_hub_download(
            source.repository, source.file, cache_dir=folder, local_files_only=True
        )
    except OSError:
        found = hf_hub_download(source.repository, source.file, cache_dir=folder)
    path = Path(found)
    # Its cache keeps a large file under the sha256 that the server gave for it, and links to that.
    if _SHA256.fullmatch(path.resolve().name):
        _check(path, path.resolve().name, str(source))
    return path


def _check(path: Path, sha256: str, source: str) -> None:
    found = _sha256(path)
    if not found.startswith(sha256):
        raise ChecksumMismatch(
            f"{source} has sha256 {found}, and {sha256} was published; "
            f"delete {path} and try again, or give the weights as a file: --weights"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
