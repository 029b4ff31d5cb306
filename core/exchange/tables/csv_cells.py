"""Cells of CSV that no spreadsheet takes for a formula.

A spreadsheet runs a cell that begins with =, +, -, @ or a control character (OWASP, "CSV
Injection"). An export puts an apostrophe before it, and an import of that export takes it away.
"""

from __future__ import annotations

import re

#: The columns of an export. A table that has all of them is one.
EXPORTED = ("text", "label", "split", "who", "labelled_at", "source", "sha256", "id")
_RISKY = re.compile(r"'*[=+\-@\t\r]")


def escaped(cell: str) -> str:
    return f"'{cell}" if _RISKY.match(cell) else cell


def unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _RISKY.match(cell) else cell
