"""The report of an import: what became of each file, and which are not imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.exchange.reading.items import KINDS, Kind
from core.exchange.reading.source_file import shown

MAX_PROBLEMS = 1_000


@dataclass(slots=True)
class Report:
    counts: Counter[Kind] = field(default_factory=Counter)
    # The path of the file, and what is wrong with it: the first of them.
    problems: list[tuple[str, str]] = field(default_factory=list)
    num_problems: int = 0

    def count(self, kind: Kind, path: str, why: str = "") -> None:
        """With `why` the file is named."""
        self.counts[kind] += 1
        if why:
            self.num_problems += 1
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append((shown(path), shown(why)))

    @property
    def num_usable(self) -> int:
        """Of images whose label is in the store now."""
        kinds: tuple[Kind, ...] = ("added", "already", "relabelled", "kept corrections")
        return sum(self.counts[kind] for kind in kinds)

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": {kind: self.counts[kind] for kind in KINDS},
            "problems": [list(problem) for problem in self.problems],
            "problems_total": self.num_problems,
        }

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Report:
        return Report(
            Counter(fields.get("counts", {})),
            [(path, why) for path, why in fields.get("problems", [])],
            int(fields.get("problems_total", 0)),
        )
