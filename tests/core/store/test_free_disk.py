"""Free disk is watched, and both changes are logged once."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.store.free_disk import FreeDisk


def test_images_are_kept_until_the_disk_is_low_and_again_when_it_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, free = 0.0, 1_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    disk = FreeDisk(tmp_path, 500, clock=lambda: now)
    assert disk.has_room
    free = 499
    assert disk.has_room  # it was measured less than a second ago
    now = 1.0
    with caplog.at_level(logging.INFO):
        assert not disk.has_room
        assert not disk.has_room
        free, now = 500, 2.0
        assert disk.has_room
    assert caplog.messages == ["disk.low", "disk.freed"]


def test_disk_that_cannot_be_measured_has_room(tmp_path: Path) -> None:
    assert FreeDisk().has_room
    assert FreeDisk().measure() is None
    assert FreeDisk(tmp_path / "absent", 10**18).has_room
    assert not FreeDisk(tmp_path, 10**18).has_room
