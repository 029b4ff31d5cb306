"""Blobs in S3: what is asked of it, and what is made of its faults."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

import pytest

from core.errors import ChecksumMismatch, StoreError
from core.store.drivers.time_limits import TimeLimits
from core.store.remote_blobs import RemoteBlobs
from tests.support import s3

pytestmark = pytest.mark.slow

URL = f"s3://{s3.BUCKET}/evergreen"
# For requests that fail. One that is to succeed may take longer than a second on a busy machine.
SHORT_LIMITS = TimeLimits(connect_s=1, answer_s=1)
# Without a limit it would be minutes.
WITHIN_S = 60.0
ABSENT = "0" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[s3.S3]:
    with s3.server() as started, pytest.MonkeyPatch.context() as patch:
        for name, value in started.environ.items():
            patch.setenv(name, value)
        yield started


@pytest.fixture(scope="module")
def blobs(server: s3.S3) -> RemoteBlobs:
    opened = RemoteBlobs(URL)
    opened.put(b"another")
    return opened


@pytest.fixture(scope="module")
def impatient(blobs: RemoteBlobs) -> RemoteBlobs:
    return RemoteBlobs(URL, SHORT_LIMITS)


def test_each_use_is_one_request(server: s3.S3, blobs: RemoteBlobs) -> None:
    server.methods.clear()
    digest = blobs.put(b"content")
    assert blobs.get(digest) == b"content"
    assert blobs.has(digest)
    assert blobs.size(digest) == 7
    blobs.delete(digest)
    assert server.methods == ["PUT", "GET", "HEAD", "HEAD", "DELETE"]
    assert not blobs.has(digest)


def test_misspelt_bucket_is_an_error_that_names_the_setting_and_is_not_made(
    server: s3.S3,
) -> None:
    with pytest.raises(StoreError, match=r"EVERGREEN_BLOB_URL.*'bcket', which does not exist"):
        RemoteBlobs("s3://bcket/evergreen")
    assert b"bcket" not in server.buckets()
    with pytest.raises(StoreError, match="EVERGREEN_BLOB_URL names no bucket"):
        RemoteBlobs("s3://")


@pytest.mark.parametrize("fault", ["reset", "hang", "500", "503"])
def test_store_that_is_down_at_the_start_is_no_error(
    server: s3.S3, fault: s3.Fault, caplog: pytest.LogCaptureFixture
) -> None:
    with server.failing(fault):
        blobs = RemoteBlobs(URL, SHORT_LIMITS if fault == "hang" else None)
    assert [record.getMessage() for record in caplog.records] == ["blobs.unverified"]
    if fault != "hang":
        assert blobs.get(blobs.put(b"later")) == b"later"


@pytest.mark.parametrize("fault", s3.FAULTS)
def test_fault_is_an_error_in_time_and_no_damage(
    server: s3.S3, blobs: RemoteBlobs, impatient: RemoteBlobs, fault: s3.Fault
) -> None:
    there, new = blobs.put(os.urandom(100_000)), os.urandom(100_000)
    began = time.monotonic()
    with server.failing(fault), pytest.raises((StoreError, ChecksumMismatch)) as caught:
        impatient.get(there)
    assert time.monotonic() - began < WITHIN_S
    assert isinstance(caught.value, ChecksumMismatch) == (fault == "wrong")
    if fault not in ("cut", "wrong"):  # which change what is read
        with server.failing(fault), pytest.raises(StoreError, match=r"cannot be written: ."):
            impatient.put(new)
    assert hashlib.sha256(blobs.get(there)).hexdigest() == there
    assert blobs.get(blobs.put(new)) == new


@pytest.mark.parametrize("fault", ["reset", "500", "503", "cut"])
def test_fault_that_is_over_soon_is_not_noticed(
    server: s3.S3, blobs: RemoteBlobs, fault: s3.Fault
) -> None:
    with server.failing(fault, times=1):
        digest = blobs.put(b"content")
    with server.failing(fault, times=1):
        assert blobs.get(digest) == b"content"
