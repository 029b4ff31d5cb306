"""What killed processes left is swept after a start."""

from __future__ import annotations

import os
from pathlib import Path

from core.settings import Settings
from service.processes import leftovers


def test_unfinished_blobs_and_models_of_long_ago_are_deleted(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    left = [tmp_path / "blobs" / "ab" / ".new-1", tmp_path / "cache" / "optimised" / ".new-2"]
    blob = tmp_path / "blobs" / "ab" / "abcd"
    for path in (*left, blob):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1e9, 1e9))
    leftovers.sweep_in_background(leftovers.folders_of(settings)).join(10)
    assert [path.exists() for path in (*left, blob)] == [False, False, True]


def test_remote_blobs_are_not_searched(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, blob_url="s3://bucket/blobs")
    assert leftovers.folders_of(settings) == [
        tmp_path / name for name in ("cache", "spool", "imports")
    ]
