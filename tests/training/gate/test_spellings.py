"""The gate, where classes were spelled in other ways."""

import numpy as np
import pytest

from core.labelling.labels import CurrentLabel
from tests.training.gate.make_evidence import POLICY, evidence
from training.dataset import assemble
from training.gate.collapse import describe_similar
from training.gate.evaluate import _names_match
from training.gate.rules import decide


def test_version_is_right_about_a_class_that_it_knows_by_other_spellings() -> None:
    given = [CurrentLabel(i, "", name, False, str(i)) for i, name in enumerate(["cup", "disc"])]
    rows = assemble(given, {i: np.ones(2, np.float16) for i in (0, 1)}, ("cup", "disc"))
    twins = ("Disc", "bowl", "cup", "disc")
    for predicted, expected in (((2, 0), (True, True)), ((2, 3), (True, True)), ((1, 2), (0, 0))):
        assert tuple(_names_match(np.array(predicted), twins, rows)) == expected


@pytest.mark.parametrize(
    ("added", "described"),
    [
        ((), ""),
        (("bowl",), ""),
        (("dsic", "bowl"), "; new class 'dsic' has a similar name"),
        (("Discs", "dsic"), "; new classes 'Discs', 'dsic' have similar names"),
    ],
)
def test_added_classes_of_a_similar_name_are_described(
    added: tuple[str, ...], described: str
) -> None:
    assert describe_similar("disc", added) == described


def test_reason_names_the_new_class_that_explains_a_collapse() -> None:
    classes = ("cup", "disc", "dsic")
    label_N = np.repeat([0, 1, 2], [100, 50, 20])
    known = evidence(
        label_N != 2, label_N != 1, classes=classes, label_N=label_N,
        old_classes=frozenset({"cup", "disc"}),
    )  # fmt: skip
    reason = decide(known, POLICY).reason
    assert "disc (50 of 50 right before, 0 now; new class 'dsic' has a similar name)" in reason
