from __future__ import annotations

from pathlib import Path

import pytest

import training.recipe
from core.errors import InvalidRecipe
from training.recipe import BlocksRecipe, Recipe, load_recipe

BUILT_IN = Path(training.recipe.__file__).with_name("recipe.toml")


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return load_recipe(path)


def problem(folder: Path, text: str) -> str:
    with pytest.raises(InvalidRecipe) as caught:
        read(folder, text)
    return str(caught.value)


def test_recipe_file_to_copy_equals_the_built_in_recipe() -> None:
    assert load_recipe(BUILT_IN) == load_recipe(None) == Recipe()


def test_keys_that_are_left_out_keep_their_defaults(tmp_path: Path) -> None:
    recipe = read(tmp_path, "[triggers]\nafter_labels = 3\n")
    assert recipe.triggers.after_labels == 3
    assert recipe.head == Recipe().head


def test_problems_are_reported_together(tmp_path: Path) -> None:
    text = "[trigers]\n[triggers]\nafter_label = 3\n[head]\nnum_folds = 'five'\n[gate]\nmargn = 1\n"
    said = problem(tmp_path, text)
    for name in ("trigers", "triggers.after_label ", "head.num_folds = 'five'", "gate.margn"):
        assert name in said


def test_unknown_key_is_named_with_the_known_ones(tmp_path: Path) -> None:
    said = problem(tmp_path, "[head]\nfolds = 5\n")
    assert "head.folds is unknown (known keys: num_folds, " in said


@pytest.mark.parametrize(
    ("section", "line", "limit"),
    [
        ("triggers", "after_labels = -1", "must be greater than or equal to 0"),
        ("triggers", "every_s = nan", "must be greater than or equal to 0"),
        ("head", "num_folds = 1", "must be greater than or equal to 2"),
        ("head", "target_precision = 1.5", "must be less than or equal to 1"),
        ("blocks", "lr = nan", "must be greater than 0"),
        ("blocks", "warmup = 1.0", "must be less than 1"),
        ("blocks", "augment = 'wild'", "must be 'none', 'light', 'medium' or 'strong'"),
        ("planner", "last_blocks = 0.0", "must be greater than 0"),
        ("gate", "confidence = 0.5", "must be greater than 0.5"),
    ],
)
def test_value_out_of_range_is_named_with_its_limit(
    tmp_path: Path, section: str, line: str, limit: str
) -> None:
    assert f"{section}.{line}: {limit}" in problem(tmp_path, f"[{section}]\n{line}\n")


def test_recipe_made_in_code_has_the_same_limits() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        BlocksRecipe(depth=0)


def test_old_name_of_a_key_still_works_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = read(
        tmp_path,
        "[triggers]\nafter_quiet_s = 9\n[head]\nbalance = 0.1\n[blocks]\nbalance = 0.2\n"
        "[planner]\nsimilar = 0.3\nsolved = 0.4\ngrowth = 5\n",
    )
    assert recipe.triggers.quiet_period_s == 9
    assert (recipe.head.class_balance, recipe.blocks.class_balance) == (0.1, 0.2)
    assert (recipe.planner.similar_accuracy, recipe.planner.solved_accuracy) == (0.3, 0.4)
    assert recipe.planner.regrowth_factor == 5
    logged = [vars(record) for record in caplog.records]
    assert {fields["msg"] for fields in logged} == {"recipe.key_renamed"}
    assert [fields["new"] for fields in logged] == [
        "triggers.quiet_period_s",
        "head.class_balance",
        "blocks.class_balance",
        "planner.similar_accuracy",
        "planner.solved_accuracy",
        "planner.regrowth_factor",
    ]


def test_old_and_new_name_of_a_key_together_are_refused(tmp_path: Path) -> None:
    said = problem(tmp_path, "[head]\nbalance = 0.1\nclass_balance = 0.2\n")
    assert "head.balance is unknown" in said


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="nowhere"):
        load_recipe(tmp_path / "nowhere.toml")
    assert "recipe.toml" in problem(tmp_path, "[head")
