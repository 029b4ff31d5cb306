"""Blobs in an object store that fsspec knows, such as S3. It writes whole objects or nothing.

Drivers also raise classes of their own, such as botocore's EndpointConnectionError. What a version
consists of has a copy on local disk (`core/store/blob_cache.py`).
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from core.errors import StoreError
from core.store.blob_cache import BlobCache
from core.store.blobs import checked, is_digest, reason, sha256, unreadable
from core.store.drivers.time_limits import TimeLimits

# A version's files are large, and nobody's request waits for them.
_TIMES_LONGER = 8
_SLOWEST_UPLOAD_BYTES_S = 1_000_000
# Tries of one request. s3fs itself would try it 25 times.
_TRIES = 2

log = logging.getLogger(__name__)


class RemoteBlobs:
    def __init__(
        self, url: str, limits: TimeLimits | None = None, cache: BlobCache | None = None
    ) -> None:
        """Raises StoreError if the store cannot be used. One that is down now is no error."""
        self._limits = limits or TimeLimits()
        self._cache = cache
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **_options(url, self._limits))
        except Exception as error:
            raise StoreError(f"the blob store of EVERGREEN_BLOB_URL cannot be used: {error}") from (
                error
            )
        if self._fs.async_impl:  # all object stores are
            self._fs.retries = _TRIES
            self._check_bucket()

    def put(self, content: bytes, *, durable: bool = True, digest: str | None = None) -> str:
        # Without asking whether it is there: the request takes as long as the upload of an image.
        digest = digest or sha256(content)
        limit_s = self._limits.answer_s + len(content) / _SLOWEST_UPLOAD_BYTES_S
        try:
            self._call("pipe_file", self._path(digest), content, limit_s=limit_s)
        except Exception as error:
            raise StoreError(f"blob {digest} cannot be written: {reason(error)}") from error
        return digest

    def get(self, digest: str, *, keep: bool = False) -> bytes:
        if not keep:
            return self._fetch(digest, self._limits.answer_s)
        cached = None if self._cache is None else self._cache.get(digest)
        return self._fetch_to_keep(digest) if cached is None else cached

    @contextlib.contextmanager
    def file(self, digest: str) -> Iterator[Path]:
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(self._cached_file(digest))
            if path is None:
                content = self._fetch_to_keep(digest)
                path = stack.enter_context(self._cached_file(digest))
            if path is None:
                path = stack.enter_context(_temporary_file(digest, content))
            yield path

    def size(self, digest: str) -> int:
        try:
            return int(self._call("size", self._path(digest)))
        except Exception as error:
            raise unreadable(digest, error, self._has_content) from error

    def has(self, digest: str) -> bool:
        try:
            return bool(self._call("exists", self._path(digest)))
        except Exception as error:
            raise StoreError(
                f"the blob store cannot be asked for {digest}: {reason(error)}"
            ) from error

    def delete(self, digest: str) -> None:
        if self._cache is not None:
            self._cache.remove(digest)
        try:
            self._call("rm_file", self._path(digest))
        except FileNotFoundError:
            return
        except Exception as error:
            raise StoreError(f"blob {digest} cannot be deleted: {reason(error)}") from error

    def digests(self) -> Iterator[str]:
        try:
            paths = self._call("find", self._root, limit_s=self._limits.answer_s * _TIMES_LONGER)
        except FileNotFoundError:
            return iter(())
        except Exception as error:
            raise StoreError(f"the blob store cannot be listed: {reason(error)}") from error
        return filter(is_digest, [path[-64:] for path in paths])

    def _check_bucket(self) -> None:
        """Raises StoreError if there is no such bucket. It is never made: its name may be misspelt,
        and then all that was learnt would seem to be lost."""
        bucket = self._root.lstrip("/").partition("/")[0]
        if not bucket:
            raise StoreError(
                "EVERGREEN_BLOB_URL names no bucket; write it like s3://bucket/evergreen"
            )
        try:
            self._call("info", bucket, limit_s=self._limits.connect_s)
        except FileNotFoundError as error:
            raise StoreError(
                f"EVERGREEN_BLOB_URL names the bucket {bucket!r}, which does not exist; make the "
                "bucket, or correct the name"
            ) from error
        except Exception as error:  # it may be well later, or not be allowed to say
            log.warning("blobs.unverified", extra={"error": reason(error)})

    def _fetch_to_keep(self, digest: str) -> bytes:
        content = self._fetch(digest, self._limits.answer_s * _TIMES_LONGER)
        if self._cache is not None:
            self._cache.add(digest, content)
        return content

    def _fetch(self, digest: str, limit_s: float) -> bytes:
        try:
            content: bytes = self._call("cat_file", self._path(digest), limit_s=limit_s)
        except Exception as error:
            raise unreadable(digest, error, self._has_content) from error
        return checked(content, digest)

    def _cached_file(self, digest: str) -> contextlib.AbstractContextManager[Path | None]:
        return contextlib.nullcontext() if self._cache is None else self._cache.file(digest)

    def _has_content(self) -> bool:
        try:
            return bool(self._call("ls", self._root))
        except FileNotFoundError:  # no object has this prefix
            return False

    def _call(self, name: str, *args: Any, limit_s: float | None = None) -> Any:
        limit = {"timeout": limit_s or self._limits.answer_s} if self._fs.async_impl else {}
        return getattr(self._fs, name)(*args, **limit)

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"


def _options(url: str, limits: TimeLimits) -> dict[str, Any]:
    # A listing from before the store was lost must not count.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if url.startswith(("s3://", "s3a://")):
        options["config_kwargs"] = {
            "connect_timeout": limits.connect_s,
            "read_timeout": limits.answer_s,
            "retries": {"mode": "standard", "total_max_attempts": _TRIES},
        }
        # With more, each read would ask for the size first.
        options["max_concurrency"] = 1
    return options


@contextlib.contextmanager
def _temporary_file(digest: str, content: bytes) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-"))
            path = Path(folder) / digest
            path.write_bytes(content)
        except OSError as error:
            raise StoreError(
                f"blob {digest} cannot be kept in a temporary file while it is read: {error}"
            ) from error
        yield path
