"""The reference pages are what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.reference import BLOCKS, block_names, generate, pages
from tests.docs.tables import kept_column, meaning, table

REMEDY = "run `python -m tests.docs.reference`, then fill the empty cells of the last column"


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_reference_page_is_what_the_code_says(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert generate(page) == page, REMEDY


def test_every_generated_block_is_on_one_page() -> None:
    names = [name for path in pages() for name in block_names(path.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(BLOCKS)


@pytest.mark.parametrize("name", sorted(set(BLOCKS) - {"bodies", "commands"}))
def test_every_row_of_a_reference_has_a_meaning(name: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in pages())
    block = text.partition(f"<!-- generated: {name} -->")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| `(.+?)` \|.*?([^|]*) \|$", block, re.MULTILINE)
    assert rows
    assert [row for row, meaning in rows if not meaning.strip()] == [], REMEDY


def test_meaning_written_by_hand_survives_generation() -> None:
    rows = [["`first`", "1", "what it means"], ["`second`", "2", ""]]
    kept = kept_column(table(["key", "default", "meaning"], rows))
    assert meaning("first", kept) == "what it means"
    assert meaning("second", kept) == ""
    assert meaning("third", kept) == ""


def test_cell_with_a_bar_stays_one_cell() -> None:
    assert table(["key"], [["a | b"]]).splitlines()[2] == "| a &#124; b |"
