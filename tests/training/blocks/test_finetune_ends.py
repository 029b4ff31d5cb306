"""How fine-tuning ends: out of time, without gain, diverged, without held-out rows."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from core.errors import Diverged, NotEnoughLabels  # noqa: E402
from tests.training.backbones.tiny_backbone import probe  # noqa: E402
from tests.training.tiny_task import RECIPE  # noqa: E402
from training.blocks.finetune import (  # noqa: E402
    EARLY_STOP,
    OUT_OF_TIME,
    START,
    tune,
)

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("one_thread")]


class Clock:
    """Advances by a second at each call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_time_limit_ends_a_run_within_a_step_and_keeps_the_best_weights(task, tmp_path) -> None:
    clock = Clock()
    recipe = dataclasses.replace(RECIPE, minutes=0.5, epochs=1000)
    ended = tune(*task, recipe, tmp_path, clock=clock)
    assert ended.reason == OUT_OF_TIME
    assert clock.now < 40
    assert ended.after.loss <= ended.before.loss


def test_time_limit_shortens_the_schedule_so_that_its_rate_reaches_zero(task, tmp_path) -> None:
    texts = []
    recipe = dataclasses.replace(RECIPE, minutes=2, epochs=1000, patience=1000)
    ended = tune(
        *task, recipe, tmp_path, clock=Clock(), on_progress=lambda _, text, __: texts.append(text)
    )
    assert ended.reason == OUT_OF_TIME
    assert texts[0].endswith("of 1000")
    assert not texts[-1].endswith("of 1000")
    assert 3 <= len(ended.history) <= 10


def test_progress_rises_to_one_and_reports_losses(task, tmp_path) -> None:
    reports = []
    tune(*task, RECIPE, tmp_path, on_progress=lambda *args: reports.append(args))
    fractions = [fraction for fraction, _, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert reports[-1][1] == "epoch 4 of 4"
    assert {"training", "held_out", "best"} <= reports[-1][2].keys()


def test_run_that_cannot_improve_returns_the_start_and_stops_early(task, tmp_path) -> None:
    backbone, _, inputs, y_N, is_held_out_N = task
    shuffled_N = y_N.copy()
    shuffled_N[~is_held_out_N] = np.random.default_rng(1).permutation(y_N[~is_held_out_N])
    head = probe(backbone, inputs.pixels_NHWC, y_N)
    recipe = dataclasses.replace(RECIPE, patience=2, epochs=20)
    ended = tune(backbone, head, inputs, shuffled_N, is_held_out_N, recipe, tmp_path)
    assert ended.reason == EARLY_STOP
    assert not ended.improved
    assert ended.weights == START
    assert len(ended.history) == 2
    assert ended.after == ended.before
    np.testing.assert_array_equal(ended.head.weights_DK, head.weights_DK)
    for given, after in zip(backbone.parameters(), ended.backbone.parameters(), strict=True):
        assert torch.equal(given, after)


def test_loss_that_is_not_finite_ends_the_run_with_the_remedy(task, tmp_path) -> None:
    recipe = dataclasses.replace(RECIPE, lr=1e30, clip_norm=1e30, warmup=0.0)
    with pytest.raises(Diverged, match=r"lower lr \(1e\+30\)"):
        tune(*task, recipe, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tuning_without_held_out_rows_is_refused(task, tmp_path) -> None:
    backbone, head, inputs, y_N, is_held_out_N = task
    with pytest.raises(NotEnoughLabels, match="0 held-out rows"):
        tune(backbone, head, inputs, y_N, np.zeros_like(is_held_out_N), RECIPE, tmp_path)
