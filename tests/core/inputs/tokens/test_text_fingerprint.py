from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UndecodableText
from core.inputs.kind import Limits
from core.inputs.tokens.fingerprint import TextFingerprint, fingerprint, normalise

TICKET = (
    "Hello, please check why my invoice for March shows two charges of 49.90 instead of one, and "
    "send me the corrected copy before Friday because our accounting department needs it"
)
TEMPLATES = (
    "How do I {verb} my {thing}?",
    "I want to {verb} my {thing} please",
    "My {thing} does not work",
    "{thing} {verb}",
    "Love the new {thing}, but can I {verb} it?",
)
VERBS = ("cancel", "change", "renew", "return", "replace")
THINGS = ("invoice", "order", "parcel", "subscription", "password", "laptop")
SHORT = (
    "yes", "no", "ok", "thanks", "help", "help me", "refund", "refund please", "refund late", "bad",
    "very bad", "very good", "it works", "it broke", "not working", "now working", "login fails",
    "where is it", "where am i", "error 1", "error 2", "cancel my order now", "ship my order now",
)  # fmt: skip


def print_of(text: str) -> TextFingerprint:
    return fingerprint(text.encode(), Limits())


def are_near(a: TextFingerprint, b: TextFingerprint) -> bool:
    assert a.is_near(b.thumb) is b.is_near(a.thumb)
    return a.is_near(b.thumb)


def share_a_band(a: TextFingerprint, b: TextFingerprint) -> bool:
    return any(x == y for x, y in zip(a.bands, b.bands, strict=True))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Don't worry!", "dont  worry"),
        ("e-mail me", "E MAIL, me"),
        ("Straße", "STRASSE"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("cafe\u0301", "CAFÉ"),
        ("a\u200bb", "ab"),
    ],
)
def test_same_text_in_other_writing_has_one_fingerprint(a: str, b: str) -> None:
    assert print_of(a) == print_of(b)
    assert print_of(a).bands == print_of(b).bands


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abcdéß世😀1", min_size=1), min_size=1), st.sampled_from(" \n,-.'!"))
def test_case_spaces_and_punctuation_never_count(words: list[str], between: str) -> None:
    a, b = " ".join(words), (between + " ").join(words).upper() + "."
    if normalise(a) == normalise(b):  # not all of Unicode comes back from upper case
        assert print_of(a) == print_of(b)
    assert normalise(" ".join(words)) == normalise(between.join(words))


@pytest.mark.parametrize(
    "copy",
    [
        TICKET.replace("March", "April"),
        TICKET.replace("49.90", "1,250.00").replace("two", "three"),
        TICKET.replace("invoice", "receipt").replace("Friday", "Monday"),
        TICKET.replace("corrected", "correctd").replace("accounting", "accuonting"),
        TICKET + "\n\nBest regards,\nMaria Schmidt",
        TICKET.removeprefix("Hello, ").upper(),
    ],
)
def test_copy_with_a_word_or_two_changed_is_a_near_duplicate(copy: str) -> None:
    assert are_near(print_of(TICKET), print_of(copy))
    assert share_a_band(print_of(TICKET), print_of(copy))


def test_typo_in_a_short_text_is_a_near_duplicate() -> None:
    text = "the app crashes again whenever I try to log in"
    assert are_near(print_of(text), print_of(text.replace("she", "se")))


@pytest.mark.parametrize("template", TEMPLATES)
def test_texts_of_one_template_with_other_words_are_not(template: str) -> None:
    prints = [print_of(template.format(verb=v, thing=t)) for v, t in product(VERBS, THINGS)]
    distinct = list({each.thumb: each for each in prints}.values())
    assert not any(are_near(a, b) for a, b in combinations(distinct, 2))


def test_short_texts_are_not_near_duplicates_of_each_other() -> None:
    prints = [print_of(text) for text in SHORT]
    assert not any(are_near(a, b) for a, b in combinations(prints, 2))


def test_texts_of_punctuation_or_pictures_alone_are_told_apart() -> None:
    prints = [print_of(text) for text in ("!!!", "???", "...", "😀", "👍👍", "$", "€")]
    assert not any(are_near(a, b) for a, b in combinations(prints, 2))
    assert print_of("! ! !") == prints[0]


def test_chinese_copy_is_a_near_duplicate_and_another_text_is_not() -> None:
    text = "我想退货因为收到的手机屏幕坏了而且充电器也没有请尽快给我回复谢谢"
    other = "请问你们的店铺周末几点开门我想带孩子一起来看看新到的玩具可以吗"
    assert are_near(print_of(text), print_of(text.replace("手机", "电脑")))
    assert not are_near(print_of(text), print_of(other))


def test_long_copy_is_a_near_duplicate_though_not_all_of_it_is_compared() -> None:
    lines = [f"step {i * i} of {i * 7919 % 1009}" for i in range(1_000)]
    text = "\n".join(lines)[:19_000]
    assert are_near(print_of(text), print_of("Hello, " + text.replace("step 100 ", "")))
    others = [f"line {i * 31} had {i * 6_007 % 997}" for i in range(1_000)]
    assert not are_near(print_of(text), print_of("\n".join(others)[:19_000]))


def test_fingerprint_is_the_same_on_every_machine_and_release() -> None:
    known = print_of(TICKET)
    assert len(known.thumb) == 248
    assert known.bands == (16019, 17797, 14722, 16843)
    assert known.thumb[:12].hex() == "afbd749374448e40933e8545"


@pytest.mark.parametrize("thumb", [b"", bytes(72)])
def test_nothing_is_near_to_an_erased_example(thumb: bytes) -> None:
    assert not print_of("a").is_near(thumb)


def test_fingerprint_refuses_what_is_no_text() -> None:
    with pytest.raises(UndecodableText):
        fingerprint(b"\xff", Limits())
