from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.exchange.exporting.safe_names import folder_name

pytestmark = pytest.mark.slow  # not in make check

FORBIDDEN = set('<>:"/\\|?*') | set(map(chr, range(32)))


@pytest.mark.parametrize("label", ["cat", "big dog", "Äpfel", "猫", "none of these", "😀", "a-1_b"])
def test_plain_label_is_its_own_folder(label: str) -> None:
    assert folder_name(label) == label


@pytest.mark.parametrize(
    ("label", "start"),
    [
        ("a/b", "a_b~"),
        ("..", "class~"),
        ("dots...", "dots~"),
        ("CON", "CON~"),
        ("com1", "com1~"),
        ("test", "test~"),
        ("Train", "Train~"),
        (".hidden", "hidden~"),
        ("<img onerror>", "img onerror~"),
        ("x" * 100 + "yz", "x" * 100 + "~"),
        ("ä" * 100, "ä" * 50 + "~"),
    ],
)
def test_other_label_is_what_is_left_of_it_and_a_part_of_its_digest(label: str, start: str) -> None:
    name = folder_name(label)
    assert name.startswith(start)
    assert len(name) == len(start) + 8


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=100))
def test_every_file_system_takes_the_name(label: str) -> None:
    if any(unicodedata.category(c) == "Cs" for c in label):
        return
    name = folder_name(label)
    assert not FORBIDDEN.intersection(name)
    assert name == name.strip(" .")
    assert 0 < len(name.encode()) <= 120


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_two_labels_never_share_a_folder(one: str, other: str) -> None:
    if one != other and not any(unicodedata.category(c) == "Cs" for c in one + other):
        assert folder_name(one) != folder_name(other)
