from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError, TextTooLong, UndecodableText
from core.inputs.kind import Limits, Reader
from core.inputs.tokens.excerpt import MAX_CHARACTERS
from core.inputs.tokens.kind import TOKENS
from tests.core.inputs.tokens.conftest import MINILM

LIMITS = Limits()
IDS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=5)


@settings(max_examples=30)
@given(IDS)
def test_batch_gives_every_text_back(rows: list[list[int]]) -> None:
    batch = TOKENS.join([np.array([row], np.int64) for row in rows])
    assert batch.dtype == np.int64
    assert batch.shape == (len(rows), max(map(len, rows)))
    assert [run.tolist() for run in TOKENS.runs(batch)] == [[row] for row in rows]
    assert MINILM.problem_of(batch) is None
    feed = TOKENS.feed(batch)
    assert tuple(feed) == TOKENS.onnx_inputs
    assert all(each.dtype == np.int64 for each in feed.values())
    for row, ids_T, mask_T in zip(rows, feed["input_ids"], feed["attention_mask"], strict=True):
        filling = [0] * (batch.shape[1] - len(row))
        assert ids_T.tolist() == row + filling
        assert mask_T.tolist() == [1] * len(row) + filling


def test_empty_batch_has_no_runs() -> None:
    assert TOKENS.join([]).shape == (0, 0)
    assert list(TOKENS.runs(TOKENS.join([]))) == []


def test_texts_of_a_reader_make_a_batch(minilm: Reader) -> None:
    texts = [b"short", b"a somewhat longer one"]
    batch = TOKENS.join([minilm.decode(text).array[np.newaxis] for text in texts])
    assert MINILM.problem_of(batch) is None
    assert [run.shape[1] for run in TOKENS.runs(batch)] == [3, 6]


@pytest.mark.parametrize(
    ("text", "size"), [("a", (1, 1)), ("a\nb", (3, 2)), ("a\r\nb\n", (5, 2)), ("😀é", (2, 1))]
)
def test_size_of_a_text_is_its_characters_and_lines(text: str, size: tuple[int, int]) -> None:
    assert TOKENS.measure(text.encode(), LIMITS) == size


def test_short_text_is_its_own_excerpt_on_one_line() -> None:
    assert TOKENS.excerpt(b"  two\n\n lines\t here ") == "two lines here"


def test_long_text_is_cut_at_a_word() -> None:
    excerpt = TOKENS.excerpt(b"eleven char " * 40)
    assert excerpt is not None
    assert excerpt == "eleven char " * 24 + "eleven…"
    assert TOKENS.excerpt(b"x" * 301) == "x" * 299 + "…"
    assert TOKENS.excerpt(b"x" * 300) == "x" * 300


@settings(max_examples=60)
@given(st.text("ab é世😀\n", max_size=20).map(lambda part: part * 40))
def test_excerpt_is_the_preview_and_short(text: str) -> None:
    content = text.encode()
    excerpt = TOKENS.excerpt(content)
    if excerpt is None:
        with pytest.raises(InputError):
            TOKENS.preview(content, LIMITS)
        return
    preview = TOKENS.preview(content, LIMITS)
    assert preview.decode() == excerpt
    assert TOKENS.is_whole_preview(preview)
    assert 0 < len(excerpt) <= MAX_CHARACTERS
    assert " ".join(text.split()).startswith(excerpt.removesuffix("…"))


@pytest.mark.parametrize("content", [b"", b"\xff", b"a\0", "a".encode("utf-16")])
def test_text_that_cannot_be_read_has_no_excerpt(content: bytes) -> None:
    assert TOKENS.excerpt(content) is None


@pytest.mark.parametrize("preview", [b"", b"text" + bytes(10), "é".encode()[:1]])
def test_preview_that_a_power_cut_left_is_not_whole(preview: bytes) -> None:
    assert not TOKENS.is_whole_preview(preview)


def test_text_over_a_limit_that_was_lowered_since_still_has_an_excerpt() -> None:
    lowered = Limits(max_characters=3)
    assert TOKENS.excerpt(b"four") == "four"
    for use in (TOKENS.preview, TOKENS.measure, TOKENS.fingerprint):
        with pytest.raises(TextTooLong):
            use(b"four", lowered)


def test_stored_text_is_what_was_sent_without_its_mark() -> None:
    assert TOKENS.kept(b"\xef\xbb\xbfa\r\n") == b"a\r\n"
    assert TOKENS.media_type(b"a") == TOKENS.preview_type == "text/plain; charset=utf-8"
    with pytest.raises(UndecodableText):
        TOKENS.preview(b"\xff", LIMITS)
