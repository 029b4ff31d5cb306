"""A class has one identity, however its name is spelled."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.class_names import identity, is_same, known_among, normalise
from core.errors import InvalidLabel


@given(st.text())
@example("\u0345\u0301A")
@example("\u1e9e\u00df")
@example("\ufdfa")
@example("a\u200b\u0301")
def test_identity_of_an_identity_is_itself(name: str) -> None:
    assert identity(identity(name)) == identity(name)


@given(st.text(max_size=30))
def test_display_form_has_the_identity_of_what_was_typed(typed: str) -> None:
    try:
        shown = normalise(typed)
    except InvalidLabel:
        return
    assert normalise(shown) == shown
    assert is_same(shown, typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Disc", "disc"),
        ("circle", "circle\u200b"),
        ("maine coon", "  Maine \u00a0 COON "),
        ("cafe\u0301", "CAFÉ"),
        ("straße", "STRASSE"),
        ("\uff44\uff49\uff53\uff43", "disc"),
        ("❤", "❤\ufe0f"),
    ],
)
def test_spellings_of_one_class_are_the_same(one: str, other: str) -> None:
    assert is_same(one, other)


@pytest.mark.parametrize(("one", "other"), [("disc", "dsic"), ("a b", "ab"), ("cafe", "café")])
def test_other_names_are_other_classes(one: str, other: str) -> None:
    assert not is_same(one, other)


def test_known_names_keep_their_own_spelling() -> None:
    assert known_among(["Disc", "cup"], ["disc", "DISC"]) == {"Disc"}


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("circle\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\u202edisc", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("di\u00adsc", "U+00AD SOFT HYPHEN"),
        ("di\u200dsc", "U+200D ZERO WIDTH JOINER"),
        ("\ufeffdisc", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("disc\u3164", "U+3164 HANGUL FILLER"),
    ],
)
def test_invisible_character_is_refused_by_name(typed: str, named: str) -> None:
    with pytest.raises(InvalidLabel, match="type the label anew") as refused:
        normalise(typed)
    assert f"an invisible character, {named}" in str(refused.value)


@pytest.mark.parametrize("emoji", ["👩\u200d🌾", "👁\ufe0f\u200d🗨\ufe0f", "👩🏽\u200d🌾"])
def test_emoji_of_several_is_a_name(emoji: str) -> None:
    assert normalise(emoji) == emoji


def test_white_space_is_joined() -> None:
    assert normalise(" maine \u00a0 coon ") == "maine coon"
