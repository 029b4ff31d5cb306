"""Write the reference pages from the code: python -m tests.docs.reference

A page is written by hand, except between `<!-- generated: NAME -->` and `<!-- end -->`. The last
column of some tables is written by hand too: the generator keeps it, row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs import command_line, http_api, log_events, metrics, recipe, settings
from tests.docs.tables import Kept, kept_column

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"

BLOCKS: Mapping[str, Callable[[Kept], str]] = {
    "routes": http_api.routes,
    "parameters": http_api.parameters,
    "errors": http_api.errors,
    "bodies": http_api.bodies,
    "settings": settings.table,
    "metrics of a machine": metrics.of_machine,
    "metrics of the database": metrics.of_database,
    "log events": log_events.table,
    "commands": command_line.table,
    **recipe.TABLES,
}

_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    return sorted(PAGES.glob("*.md"))


def block_names(page: str) -> list[str]:
    return [name for _, name, _, _ in _BLOCK.findall(page)]


def generate(page: str) -> str:
    """Return the page with every generated block as the code says it today."""

    def replace(match: re.Match[str]) -> str:
        begin, name, old, end = match.groups()
        return f"{begin}\n{BLOCKS[name](kept_column(old))}\n{end}"

    return _BLOCK.sub(replace, page)


def main() -> None:
    for path in pages():
        path.write_text(generate(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
