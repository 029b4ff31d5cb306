from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from core.errors import SpecMismatch, TextTooLong, UndecodableText
from core.inputs.kind import Limits, Reader
from core.inputs.tokens.kind import TokenSpec
from tests.core.inputs.tokens.conftest import MINILM

BEGIN, END, UNKNOWN = 101, 102, 100
WORDS = ["refund", "unbelievable", "Grüße", "世界", "xq" * 60, "a" * 3_000, "!", "\n\n", "don't"]
TEXTS = st.lists(st.sampled_from(WORDS) | st.text("ab \n.é", min_size=1), min_size=1, max_size=900)


def ids(reader: Reader, text: str) -> list[int]:
    return [int(token) for token in reader.decode(text.encode()).array]


@pytest.fixture(scope="module")
def whole(tokenizer_json: str) -> Tokenizer:
    """Tokenises all of a text, as its publisher would."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def test_text_has_its_own_tokens_and_those_around_them_and_no_filling(minilm: Reader) -> None:
    decoded = minilm.decode(b"hello world")
    assert decoded.array.dtype == np.int64
    assert decoded.array.tolist() == [BEGIN, 7592, 2088, END]
    assert decoded.is_truncated is False
    assert decoded.note is None


def test_text_is_cut_at_the_limit_of_the_spec_and_not_of_the_file(minilm: Reader) -> None:
    at_limit, over = (minilm.decode(b"word " * num) for num in (254, 255))
    assert at_limit.array.shape == over.array.shape == (256,)
    assert (at_limit.is_truncated, over.is_truncated) == (False, True)
    assert over.array[-1] == END


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=TEXTS, times=st.integers(1, 30))
def test_beginning_of_a_long_text_has_the_tokens_of_the_whole(
    words: list[str], times: int, minilm: Reader, whole: Tokenizer
) -> None:
    text = " ".join(words * times)[:20_000]
    expected = whole.encode(text).ids
    if len(expected) == 2:
        return
    decoded = minilm.decode(text.encode())
    assert decoded.is_truncated is (len(expected) > 256)
    cut = expected if len(expected) <= 256 else [*expected[:255], END]
    assert decoded.array.tolist() == cut


def test_text_behind_many_spaces_is_read(minilm: Reader) -> None:
    assert ids(minilm, "hello" + " " * 19_000 + "world") == [BEGIN, 7592, 2088, END]


def test_text_that_names_a_special_token_does_not_get_it(minilm: Reader) -> None:
    tokens = ids(minilm, "a [SEP] b [PAD] c [UNK] d")
    assert (tokens.count(BEGIN), tokens.count(END)) == (1, 1)
    assert 0 not in tokens
    assert UNKNOWN not in tokens


def test_text_without_a_token_of_its_own_is_refused(minilm: Reader) -> None:
    with pytest.raises(UndecodableText, match=r"0 tokens; send at least one word"):
        minilm.decode("\u0301".encode())


def test_reader_refuses_what_a_text_may_not_be(minilm: Reader) -> None:
    with pytest.raises(UndecodableText, match="NUL"):
        minilm.decode(b"a\0")
    with pytest.raises(TextTooLong, match="the limit is 3"):
        minilm.decode(b"four", Limits(max_characters=3))


@pytest.mark.parametrize(
    ("text", "num_unknown", "num_tokens"),
    [("😀 one two", 1, 3), ("አማርኛ ቋንቋ", 2, 2), ("😀 one two three", None, None)],
)
def test_third_of_unknown_tokens_is_noted(
    text: str, num_unknown: int | None, num_tokens: int | None, minilm: Reader
) -> None:
    note = minilm.decode(text.encode()).note
    if num_unknown is None:
        assert note is None
    else:
        assert note is not None
        assert note.startswith(f"{num_unknown} of {num_tokens} tokens are unknown")
        assert "language" in note


def test_threads_share_a_reader(minilm: Reader) -> None:
    texts = [f"ticket {i} of customer {i * i}, " + "again " * i for i in range(200)]
    alone = [ids(minilm, text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: ids(minilm, text), texts)) == alone


def test_unigram_names_its_unknown_token_by_place() -> None:
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    reader = TokenSpec(vocab_size=2).reader({"tokenizer": unigram.to_str()})
    note = reader.decode(b"aab").note
    assert note is not None
    assert note.startswith("1 of 3 tokens")


def test_vocabulary_of_bytes_has_no_unknown_token() -> None:
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reader = TokenSpec(vocab_size=256).reader({"tokenizer": tokenizer.to_str()})
    decoded = reader.decode("አ".encode())
    assert (len(decoded.array), decoded.note) == (3, None)


@pytest.mark.parametrize("metadata", [{}, {"tokenizer": ""}])
def test_backbone_without_tokenizer_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(SpecMismatch, match=r"no metadata `tokenizer`.*export the backbone again"):
        MINILM.reader(metadata)


@pytest.mark.parametrize("tokenizer", ["{", "{}", "[]", '{"model": {"type": "Magic"}}'])
def test_unreadable_tokenizer_is_refused(tokenizer: str) -> None:
    with pytest.raises(SpecMismatch, match=r"cannot be read.*export the backbone again"):
        MINILM.reader({"tokenizer": tokenizer})


def test_tokenizer_of_another_backbone_is_refused(tokenizer_json: str) -> None:
    with pytest.raises(SpecMismatch, match=r"token 30,521.*vocab_size is 30,521"):
        TokenSpec(vocab_size=30_521).reader({"tokenizer": tokenizer_json})
    fields = json.loads(tokenizer_json)
    fields["added_tokens"].append({**fields["added_tokens"][0], "id": 30_522, "content": "<x>"})
    with pytest.raises(SpecMismatch, match=r"token 30,522.*vocab_size is 30,522"):
        MINILM.reader({"tokenizer": json.dumps(fields)})


def test_installation_for_images_says_what_texts_need(
    monkeypatch: pytest.MonkeyPatch, tokenizer_json: str
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SpecMismatch, match=r"pip install 'evergreen-classifier\[text\]'"):
        MINILM.reader({"tokenizer": tokenizer_json})


def test_kind_is_imported_without_the_tokenizer() -> None:
    code = "import sys, core.inputs.tokens.kind; sys.exit('tokenizers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
