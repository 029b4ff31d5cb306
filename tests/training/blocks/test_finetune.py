import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from tests.training.backbones.tiny_backbone import CLASSES, photos, tiny_backbone  # noqa: E402
from tests.training.tiny_task import RECIPE  # noqa: E402
from training.blocks.finetune import AVERAGED, CANCELLED, FINISHED, RAW, Tuned, tune  # noqa: E402
from training.blocks.images.inputs import PixelInputs  # noqa: E402
from training.head.head import ABSENT_BIAS, Head  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("one_thread")]

# A refactored loop must draw the same numbers and compute the same sums. Other CPUs round
# convolutions differently: 1e-6 after the 28 steps.
PINNED_LOSSES = (1.485844, 0.864520, 0.634436, 0.559739)
PINNED_ATOL = 2e-4


class Stop:
    """Returns true from call number `at` on."""

    def __init__(self, at: int) -> None:
        self.calls_left = at

    def __call__(self) -> bool:
        self.calls_left -= 1
        return self.calls_left < 0


def weights_of(tuned: Tuned) -> dict[str, torch.Tensor]:
    head = {"w": torch.from_numpy(tuned.head.weights_DK), "b": torch.from_numpy(tuned.head.bias_K)}
    return {**tuned.backbone.state_dict(), **head}


def assert_same_bits(one: Tuned, other: Tuned) -> None:
    mine, theirs = weights_of(one), weights_of(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert [e.train_loss for e in one.history] == [e.train_loss for e in other.history]
    assert (one.after, one.weights, one.best_epoch) == (
        other.after,
        other.weights,
        other.best_epoch,
    )


@pytest.fixture(scope="module")
def tuned(task, tmp_path_factory) -> Tuned:
    torch.set_num_threads(1)
    return tune(*task, RECIPE, tmp_path_factory.mktemp("tuned"), seed=3)


def test_tuning_beats_the_head_it_started_from(task, tuned) -> None:
    assert tuned.improved
    assert tuned.reason == FINISHED
    assert tuned.after.loss < tuned.before.loss - 0.15
    assert tuned.after.accuracy > tuned.before.accuracy
    pixels_NHWC, y_N = photos(300, seed=99)
    with torch.no_grad():
        fresh = tuned.head.logits(tuned.backbone(torch.from_numpy(pixels_NHWC)).numpy())
        start = task[1].logits(task[0](torch.from_numpy(pixels_NHWC)).numpy())
    assert (fresh.argmax(1) == y_N).mean() > (start.argmax(1) == y_N).mean() + 0.03


def test_losses_equal_the_pinned_ones(tuned) -> None:
    losses = [epoch.train_loss for epoch in tuned.history]
    np.testing.assert_allclose(losses, PINNED_LOSSES, rtol=0, atol=PINNED_ATOL)


def test_running_statistics_and_frozen_blocks_do_not_change(task, tuned) -> None:
    given, after = task[0].state_dict(), tuned.backbone.state_dict()
    changed = {name for name in given if not torch.equal(given[name], after[name])}
    assert {name.split(".")[1] for name in changed} == {"2", "3"}
    assert not any("running" in name or "num_batches" in name for name in changed)


def test_tuned_backbone_is_ready_to_export_and_the_given_one_unchanged(task, tuned) -> None:
    assert not any(module.training for module in tuned.backbone.modules())
    assert all(parameter.is_contiguous() for parameter in tuned.backbone.parameters())
    assert all(parameter.requires_grad for parameter in task[0].parameters())
    for given, fresh in zip(task[0].parameters(), tiny_backbone().parameters(), strict=True):
        assert torch.equal(given, fresh)


def test_same_seed_gives_the_same_bits_and_another_does_not(task, tuned, tmp_path) -> None:
    assert_same_bits(tune(*task, RECIPE, tmp_path / "again", seed=3), tuned)
    other = tune(*task, RECIPE, tmp_path / "other", seed=4)
    assert other.history[0].train_loss != tuned.history[0].train_loss


# Within the fill of the first epoch, its steps, and the steps of the third epoch.
@pytest.mark.parametrize("asked", [2, 8, 27])
def test_cancelled_run_ends_with_the_bits_of_an_uninterrupted_one(
    task, tuned, tmp_path, asked
) -> None:
    first = tune(*task, RECIPE, tmp_path, seed=3, should_stop=Stop(asked))
    assert first.reason == CANCELLED
    assert len(first.history) < RECIPE.epochs
    resumed_at = []
    second = tune(
        *task,
        RECIPE,
        tmp_path,
        seed=3,
        on_progress=lambda fraction, *_: resumed_at.append(fraction),
    )
    assert_same_bits(second, tuned)
    assert list(tmp_path.iterdir()) == []


def test_crash_between_epochs_is_resumed_without_repeating_them(task, tuned, tmp_path) -> None:
    def crash(fraction: float, text: str, losses: dict[str, float]) -> None:
        if fraction > 0.6:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        tune(*task, RECIPE, tmp_path, seed=3, on_progress=crash)
    steps = []
    again = tune(*task, RECIPE, tmp_path, seed=3, on_progress=lambda f, *_: steps.append(f))
    assert_same_bits(again, tuned)
    assert steps[1] > 0.5


def test_checkpoint_of_other_arguments_is_deleted(task, tuned, tmp_path) -> None:
    tune(*task, RECIPE, tmp_path, seed=4, should_stop=Stop(30))
    assert len(list(tmp_path.iterdir())) == 5
    (tmp_path / "keep.txt").touch()
    (tmp_path / ".new-killed").touch()
    assert_same_bits(tune(*task, RECIPE, tmp_path, seed=3), tuned)
    assert [path.name for path in tmp_path.iterdir()] == ["keep.txt"]


def test_tuning_can_overfit_a_dozen_photos(task, tmp_path) -> None:
    backbone, *_ = task
    pixels_NHWC, y_N = photos(12, seed=5)
    twice = PixelInputs(np.concatenate([pixels_NHWC] * 2))
    twice_N = np.concatenate([y_N] * 2)
    recipe = dataclasses.replace(
        RECIPE, depth=4, epochs=150, label_smoothing=0.0, augment="none", patience=150
    )
    zero = Head(CLASSES, np.zeros((24, 3), np.float32), np.zeros(3, np.float32))
    ended = tune(backbone, zero, twice, twice_N, np.arange(24) >= 12, recipe, tmp_path)
    assert ended.after.accuracy == 1
    assert ended.history[-1].train_loss < 0.05


def test_class_without_training_rows_stays_unpredicted_and_harms_nothing(task, tmp_path) -> None:
    backbone, head, inputs, y_N, is_held_out_N = task
    bias_K = np.append(head.bias_K, np.float32(ABSENT_BIAS))
    weights_DK = np.pad(head.weights_DK, ((0, 0), (0, 1)))
    wider = Head((*CLASSES, "unseen"), weights_DK, bias_K)
    ended = tune(backbone, wider, inputs, y_N, is_held_out_N, RECIPE, tmp_path)
    assert ended.improved
    assert ended.head.bias_K[3] == np.float32(ABSENT_BIAS)
    assert max(epoch.train_loss for epoch in ended.history) < 3


def test_microbatches_of_one_add_up_to_the_same_step(task, tuned, tmp_path) -> None:
    # Dropout draws in another order, so without it.
    backbone = tiny_backbone()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    recipe = dataclasses.replace(RECIPE, epochs=1)
    whole = tune(backbone, *task[1:], recipe, tmp_path / "whole")
    import training.blocks.images.activations as activations

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "learning_batch", lambda *_: 1)
        single = tune(backbone, *task[1:], recipe, tmp_path / "single")
    assert single.history[0].train_loss == pytest.approx(whole.history[0].train_loss, abs=1e-4)
    assert single.history[0].raw.loss == pytest.approx(whole.history[0].raw.loss, abs=1e-3)


def test_averaged_weights_can_be_best_and_are_recorded(task, tmp_path) -> None:
    # A rate too high for the last epochs: the average of a wandering path lies nearer the middle.
    recipe = dataclasses.replace(RECIPE, lr=2e-2, epochs=3, average_epochs=1.0)
    ended = tune(*task, recipe, tmp_path)
    scores = {(RAW, n + 1): e.raw.loss for n, e in enumerate(ended.history)}
    scores |= {(AVERAGED, n + 1): e.averaged.loss for n, e in enumerate(ended.history)}
    assert (ended.weights, ended.best_epoch) == min(scores, key=scores.__getitem__)
    assert ended.after.loss == min(scores.values())
