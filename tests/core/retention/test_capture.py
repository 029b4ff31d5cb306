"""Which images are kept: the same decision each time, and none beyond the limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidRecipe
from core.ids import new_id
from core.predictions import Prediction
from core.retention.capture import Capture, choose
from core.retention.policy import CapturePolicy, load_capture_policy
from core.store.free_disk import FreeDisk

NOW = 1_800_000_000.0
EMBEDDING = np.array([0.5, -1.0, 0.25], np.float32)


def prediction(margin: float = 0.9, unfamiliar: bool | None = None) -> Prediction:
    return Prediction(new_id(), "a" * 64, 1, "cat", 0.9, margin, NOW, unfamiliar)


def decide(policy: CapturePolicy, row: Prediction, disk: FreeDisk | None = None) -> Prediction:
    return Capture(policy, disk or FreeDisk()).decide(row, 100, EMBEDDING)


def test_all_images_are_kept_by_default() -> None:
    row = decide(CapturePolicy(), prediction())
    assert (row.kept_bytes, row.capture) == (100, "all")
    assert row.embedding == np.array([64, -127, 32], np.int8).tobytes()


def test_share_is_kept_and_depends_on_the_id_alone() -> None:
    policy = CapturePolicy(keep=0.25)
    rows = [prediction() for _ in range(4000)]
    chosen = [choose(policy, row) for row in rows]
    assert chosen == [choose(policy, row) for row in rows]
    assert 0.22 < sum(is_kept for is_kept, _ in chosen) / len(rows) < 0.28
    assert {why for _, why in chosen} == {"sampled", "not sampled"}


@pytest.mark.parametrize(("share", "is_kept"), [(0.0, False), (1.0, True)])
def test_share_of_nothing_or_all_is_exact(share: float, is_kept: bool) -> None:
    policy = CapturePolicy(keep=share)
    assert {choose(policy, prediction())[0] for _ in range(500)} == {is_kept}


@pytest.mark.parametrize(
    ("margin", "unfamiliar", "expected"),
    [
        (0.49, None, (True, "doubtful")),
        (0.5, None, (False, "not doubtful")),
        (0.99, False, (False, "not doubtful")),
        (0.99, True, (True, "unfamiliar")),
    ],
)
def test_doubtful_and_unfamiliar_images_are_kept(
    margin: float, unfamiliar: bool | None, expected: tuple[bool, str]
) -> None:
    policy = CapturePolicy(keep="doubtful")
    assert choose(policy, prediction(margin, unfamiliar)) == expected


def test_none_keeps_none() -> None:
    row = decide(CapturePolicy(keep="none"), prediction(0.0, True))
    assert (row.kept_bytes, row.capture, row.embedding) == (None, "none", None)


def test_low_disk_keeps_none(tmp_path: Path) -> None:
    row = decide(CapturePolicy(), prediction(), FreeDisk(tmp_path, min_bytes=10**18))
    assert (row.kept_bytes, row.capture) == (None, "low disk")


def test_hourly_limit_is_shared_by_processes_and_begins_again() -> None:
    capture = Capture(CapturePolicy(max_per_hour=6), FreeDisk(), num_processes=2)
    reasons = [capture.decide(prediction(), 1, EMBEDDING).capture for _ in range(5)]
    assert reasons == ["all"] * 3 + ["hourly limit"] * 2
    later = Prediction(new_id(), "a" * 64, 1, "cat", 0.9, 0.9, NOW + 3600)
    assert capture.decide(later, 1, EMBEDDING).capture == "all"


def test_policy_is_read_from_its_table_alone(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[unheard_of]\n[capture]\nkeep = 0.1\nmax_gb = 1\n")
    assert load_capture_policy(path) == CapturePolicy(keep=0.1, max_gb=1)
    path.write_text("[head]\nnum_folds = 3\n")
    assert load_capture_policy(path) == load_capture_policy(None) == CapturePolicy()


@pytest.mark.parametrize("value", ['"some"', "1.5", "-1", "nan", "true", "[]"])
def test_wrong_keep_is_named_with_what_it_may_be(tmp_path: Path, value: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"[capture]\nkeep = {value}\n")
    with pytest.raises(InvalidRecipe, match=r'capture\.keep = .*write "all", "doubtful", "none"'):
        load_capture_policy(path)
