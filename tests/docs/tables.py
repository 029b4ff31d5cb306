"""Markdown tables, and the column in them that is written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

#: The last cell of a row, by the first cell of it without backquotes.
Kept = Mapping[str, str]

_ROW = re.compile(r"^\| `([^`]+)` \|.*?\| ?([^|]*?) \|$", re.MULTILINE)

# Rows that changed their name keep what was written about them.
_RENAMED = {
    "quiet_period_s": "after_quiet_s",
    "class_balance": "balance",
    "similar_accuracy": "similar",
    "solved_accuracy": "solved",
    "regrowth_factor": "growth",
    "load_table.unavailable": "board.impossible",
    "forwarding.unavailable": "sharing.impossible",
    "forwarding.failed": "sharing.failed",
    "forwarding.error": "sharing.unexpected",
}


def kept_column(block: str) -> Kept:
    return dict(_ROW.findall(block.replace(r"\|", "&#124;")))


def meaning(name: str, kept: Kept) -> str:
    """Return what was written by hand about the row of this name; empty if nothing was."""
    return kept.get(name) or kept.get(_RENAMED.get(name, ""), "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def code(text: object) -> str:
    """As code; an empty cell stays empty."""
    return f"`{text}`" if str(text) else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;")
