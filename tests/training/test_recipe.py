from __future__ import annotations

from pathlib import Path

import pytest

import training.recipe
from core.errors import InvalidRecipe
from training.recipe import Recipe, load_recipe

BUILT_IN = Path(training.recipe.__file__).with_name("recipe.toml")


def test_the_file_to_copy_says_what_is_built_in() -> None:
    assert load_recipe(BUILT_IN) == load_recipe(None) == Recipe()


def test_what_is_left_out_keeps_its_value(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[triggers]\nafter_labels = 3\n")
    recipe = load_recipe(path)
    assert recipe.triggers.after_labels == 3
    assert recipe.head == Recipe().head


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        "[trigers]\n[triggers]\nafter_label = 3\n[head]\nnum_folds = 'five'\n[gate]\nmargn = 1\n"
    )
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(path)
    for name in ("trigers", "triggers.after_label ", "head.num_folds", "gate.margn"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "[triggers]\nafter_labels = -1",
        "[head]\nnum_folds = 1",
        "[head]\nbalance = 1.5",
        "[gate]\nconfidence = 0.5",
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line)
    with pytest.raises(InvalidRecipe, match="must"):
        load_recipe(path)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="nowhere"):
        load_recipe(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("[head")
    with pytest.raises(InvalidRecipe, match="broken"):
        load_recipe(tmp_path / "broken.toml")
