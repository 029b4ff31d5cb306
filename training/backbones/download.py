"""Downloads pretrained weights, or folders of encoders, into a cache, and checks their hash.

Owns the check of the hash. pooch and huggingface_hub download, and are imported only then. Does not
read the file's content (`training/backbones/weights.py`), and loads no torch.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

from core.errors import BackboneUnavailable, ChecksumMismatch

#: The default cache folder. It may be deleted at any time.
DEFAULT_CACHE = Path("~/.cache/evergreen/pretrained")

_TIMEOUT_S = 30
_CHUNK = 1 << 20
# torch's own convention for published weights: NAME-<first digits of the sha256>.pth
_HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What is read of an encoder of texts, and nothing that could run.
_FOLDER_FILES = (
    *("config.json", "modules.json", "sentence_bert_config.json", "tokenizer.json"),
    *("model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"),
    *("[0-9]_*/config.json", "0_Transformer/*.json", "0_Transformer/model*.safetensors"),
)


class Source(NamedTuple):
    """A file of a Hugging Face repository, or a URL whose file name ends in its hash."""

    url: str = ""
    repository: str = ""
    file: str = "model.safetensors"
    #: A command that makes the same weights as safetensors on a machine with a network.
    recipe: str = ""

    def __str__(self) -> str:
        return self.url or f"https://huggingface.co/{self.repository}/blob/main/{self.file}"


def fetch(source: Source, cache: Path | None = None, *, progress: bool = True) -> Path:
    """Return the path of the file, which is downloaded unless it is cached. Its hash is always
    checked.

    Raises BackboneUnavailable if it cannot be downloaded, ChecksumMismatch if it is another file.
    """
    folder = (cache or DEFAULT_CACHE).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if source.url:
            return _from_url(source.url, folder, progress)
        if source.repository:
            return _from_repository(source, folder)
    except OSError as error:
        raise BackboneUnavailable(
            f"pretrained weights cannot be downloaded from {source}: {_reason(error)}. "
            f"{_remedy(source)}"
        ) from error
    raise BackboneUnavailable(
        f"the library publishes no weights for it that are safe to read. {_remedy(source)}"
    )


def fetch_folder(repository: str, cache: Path | None = None) -> Path:
    """Return the folder of an encoder of texts on Hugging Face, downloaded unless it is cached.

    Raises BackboneUnavailable if it cannot be downloaded, ChecksumMismatch if a file is damaged.
    """
    from huggingface_hub import snapshot_download

    url = f"https://huggingface.co/{repository}"
    folder = (cache or DEFAULT_CACHE).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = snapshot_download(
            repository,
            cache_dir=folder,
            allow_patterns=[*_FOLDER_FILES],
            etag_timeout=_TIMEOUT_S,
        )
    except (OSError, ValueError) as error:
        raise BackboneUnavailable(
            f"the encoder cannot be downloaded from {url}: {_reason(error)}. Give a folder "
            "instead, with config.json, tokenizer.json and model.safetensors: where there is a "
            f"network, hf download {repository} --local-dir FOLDER makes it, and then "
            "evergreen backbone use FOLDER"
        ) from error
    for file in Path(path).rglob("*.safetensors"):
        _check_link(file, url)
    return Path(path)


def _reason(error: BaseException) -> str:
    """Return the first line of the root cause, because HTTP clients wrap it several times."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error).strip().split("\n")[0].rstrip(".")


def _remedy(source: Source) -> str:
    return (
        "Give them as a file instead, --weights FILE.safetensors; where there is a network, this "
        f"makes it: {source.recipe}"
    )


def _from_url(url: str, folder: Path, progress: bool) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    name = Path(urlparse(url).path).name
    published = _HASH.search(name)
    if published is None:
        raise OSError("the file is published without a hash")
    digits, target = published[1], folder / name
    if target.exists() and not _sha256(target).startswith(digits):
        target.unlink()
    download = pooch.HTTPDownloader(progress, _CHUNK, timeout=_TIMEOUT_S)

    # pooch compares whole digests only, and here the first digits are published.
    def download_and_check(url: str, file: Any, caller: Any) -> None:
        download(url, file, caller)
        _check(Path(file), digits, url)

    return Path(pooch.retrieve(url, None, name, folder, downloader=download_and_check))


def _from_repository(source: Source, folder: Path) -> Path:
    """Download with huggingface_hub, which timm installs. It shows its progress, and resumes."""
    from huggingface_hub import hf_hub_download

    get = partial(hf_hub_download, source.repository, source.file, cache_dir=folder)
    path: Path | None = None
    with suppress(OSError):  # what is cached needs no network
        path = Path(get(local_files_only=True))
    path = path or Path(get())
    _check_link(path, str(source))
    return path


def _check_link(path: Path, source: str) -> None:
    """A large file is a link to one whose name is the sha256 that the server gave."""
    if _SHA256.fullmatch(path.resolve().name):
        _check(path, path.resolve().name, source)


def _check(path: Path, sha256: str, source: str) -> None:
    actual = _sha256(path)
    if not actual.startswith(sha256):
        raise ChecksumMismatch(
            f"{source} has sha256 {actual}, and {sha256} was published; "
            f"delete {path} and try again, or give the weights as a file: --weights"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
