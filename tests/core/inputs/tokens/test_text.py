from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError, TextTooLong, UndecodableText
from core.inputs.kind import Limits
from core.inputs.tokens.text import read, to_bytes, without_mark

BOM = b"\xef\xbb\xbf"
LIMITS = Limits(max_characters=10)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ("is empty", "at least one word")),
        (BOM, ("is empty", "at least one word")),
        (b" \t\r\n", ("4 blank characters", "at least one word")),
        ("\u200b\u2028\ufeff".encode(), ("3 blank characters", "at least one word")),
        (b"ab\0c", ("NUL", "character offset 2", "UTF-8")),
        (BOM + b"ab\x1bc", ("U+001B", "character offset 2", "tab, newline", "remove it")),
        (b"\x7fa", ("U+007F", "character offset 0", "remove it")),
        ("é\x85".encode(), ("U+0085", "character offset 1", "remove it")),
        (b"caf\xe9", ("not UTF-8", "offset 3 of 4", "save it as UTF-8")),
        (BOM + b"caf\xe9", ("not UTF-8", "offset 6 of 7", "save it as UTF-8")),
        (b"a\xc0\x80", ("not UTF-8", "offset 1 of 3", "save it as UTF-8")),
        (b"caf\xc3", ("not UTF-8", "offset 3 of 4", "save it as UTF-8")),
        (b"ab\xed\xa0\xbd", ("surrogate", "byte offset 2", "whole characters")),
        ("word".encode("utf-16"), ("UTF-16", "byte order mark", "UTF-8")),
        (b"\xfe\xff" + "word".encode("utf-16-be"), ("UTF-16", "byte order mark", "UTF-8")),
        ("word".encode("utf-32"), ("UTF-32", "byte order mark", "UTF-8")),
        ("word".encode("utf-16-le"), ("NUL", "character offset 1", "UTF-16")),
    ],
)
def test_refusal_names_place_and_remedy(content: bytes, says: tuple[str, ...]) -> None:
    with pytest.raises(UndecodableText) as caught:
        read(content, LIMITS)
    assert all(words in str(caught.value) for words in says), str(caught.value)


def test_characters_are_limited_and_not_bytes() -> None:
    assert read("ü".encode() * 10, LIMITS) == "ü" * 10
    with pytest.raises(TextTooLong, match=r"11 characters; the limit is 10; .*MAX_CHARACTERS"):
        read(BOM + b"a" * 11, LIMITS)


def test_lone_surrogate_of_json_is_refused() -> None:
    assert to_bytes("aé😀") == "aé😀".encode()
    with pytest.raises(UndecodableText, match=r"U\+D83D.* character offset 2.*whole characters"):
        to_bytes("ab\ud83d")


def test_tab_newline_and_carriage_return_are_text() -> None:
    assert read(b"a\tb\r\nc\n") == "a\tb\r\nc\n"


@pytest.mark.parametrize("content", [b"plain", b" \xc3\xa9\n", b"\xe9", BOM + b"\xe9", b""])
def test_bytes_without_mark_and_bytes_that_are_no_text_are_kept_as_sent(content: bytes) -> None:
    assert without_mark(content) == content


# Parts of characters that are refused, dropped or allowed in some places only.
PARTS = st.lists(st.sampled_from(["zebra", "\ufeff", " ", "\n", "é", "\0", "\x1b", "😀", "\u2028"]))


@settings(max_examples=60)
@given(PARTS.map("".join))
def test_what_is_kept_is_the_same_when_it_is_sent_again(text: str) -> None:
    content = text.encode()
    kept = without_mark(content)
    assert without_mark(kept) == kept
    assert content.endswith(kept)
    try:
        assert read(content) == read(kept) == kept.decode()
    except UndecodableText:
        with pytest.raises(UndecodableText):
            read(kept)


@settings(max_examples=60)
@given(PARTS.map("".join), st.binary(max_size=4))
def test_text_is_read_whole_or_refused_without_a_quote(text: str, end: bytes) -> None:
    content = b"zebra" + text.encode() + end
    said = ""
    try:
        assert read(content, Limits(max_characters=30)).encode() == content
    except InputError as error:
        said = str(error)
    assert "zebra" not in said
