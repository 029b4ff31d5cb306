import pytest

from training.blocks.schedule import block_lrs, lr_factor, num_unfrozen, plan_epochs


def test_learning_rate_falls_with_depth() -> None:
    assert block_lrs(1e-3, 0.5, 3) == [0.25e-3, 0.5e-3, 1e-3]


def test_learning_rate_rises_then_falls_to_zero() -> None:
    assert [lr_factor(p, 0.2) for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert lr_factor(0, 0.0) == 1


def test_last_block_is_unfrozen_first() -> None:
    assert [num_unfrozen(epoch, 3, 2) for epoch in range(6)] == [1, 1, 2, 2, 3, 3]
    assert num_unfrozen(0, 3, 0) == 3


@pytest.mark.parametrize(
    ("remaining_s", "fills_left", "planned"),
    [(None, 3, 20), (1000, 3, 20), (35, 0, 5), (35, 1, 5), (34, 1, 4), (35, 9, 4), (9, 0, 2)],
)
def test_epochs_are_as_many_as_fit(remaining_s, fills_left, planned) -> None:
    got = plan_epochs(20, 2, remaining_s, epoch_s=10, fill_s=5, fills_left=fills_left)
    assert got == planned
