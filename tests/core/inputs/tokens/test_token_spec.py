from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from core.errors import SpecMismatch
from core.inputs import kinds
from core.inputs.tokens.kind import TOKENS, TokenSpec

SPEC = TokenSpec(vocab_size=100, max_tokens=4)


def test_spec_survives_json() -> None:
    assert SPEC.to_json() == {"vocab_size": 100, "max_tokens": 4}
    assert TOKENS.read_spec(SPEC.to_json()) == SPEC
    assert kinds.of_spec(SPEC) is TOKENS


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 2},
        {"max_tokens": 8_193},
        {"vocab_size": 0},
        {"vocab_size": "many"},
        {"vocab_size": True},
        {"vocab_size": 1.5},
        {"pooling": "mean"},
    ],
)
def test_unknown_spec_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpecMismatch, match="token spec"):
        TokenSpec.from_json({**SPEC.to_json(), **change})


@pytest.mark.parametrize("fields", [None, [], "spec", {}, {"max_tokens": 256}])
def test_incomplete_spec_is_refused(fields: Any) -> None:
    with pytest.raises(SpecMismatch, match="is not two integers"):
        TokenSpec.from_json(fields)


def test_golden_tokens_are_the_same_on_every_machine() -> None:
    golden = TokenSpec(vocab_size=30_522).golden(7)
    assert golden.shape == (1, 32)
    assert golden[0, :4].tolist() == [25671, 19961, 2642, 8550]
    assert SPEC.golden(7).shape == (1, 4)
    assert SPEC.problem_of(SPEC.golden(7)) is None


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (np.zeros((1, 4), np.int32), "int32"),
        (np.zeros((1, 4), np.float32), "float32"),
        (np.zeros(4, np.int64), r"\[4\]"),
        (np.zeros((1, 5), np.int64), "5 tokens; this version takes 1 to 4"),
        (np.zeros((2, 0), np.int64), "0 tokens"),
        (np.array([[1, 100]]), "to 100; this version takes 0 to 99"),
        (np.array([[1, -2]]), "from -2"),
        (np.array([[1, 2], [-1, -1]]), "before its last token"),
        (np.array([[1, -1, 2]]), "before its last token"),
    ],
)
def test_problem_of_a_batch_names_value_and_limit(batch: np.ndarray[Any, Any], says: str) -> None:
    problem = SPEC.problem_of(batch)
    assert problem is not None
    assert re.search(says, problem), problem


@pytest.mark.parametrize("batch", [[[1]], [[1, 2, -1, -1], [0, 99, 3, 4]]])
def test_batch_of_the_spec_has_no_problem(batch: list[list[int]]) -> None:
    assert SPEC.problem_of(np.array(batch)) is None
    assert SPEC.problem_of(np.zeros((0, 3), np.int64)) is None
