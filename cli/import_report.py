"""The report of an import: a progress bar, a table by class, and the next step."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cli.console import count, err, out, table
from cli.labelled_folder import Verdict
from core.labelling import labels
from core.labelling.census import MIN_CLASSES, MIN_EXAMPLES_OF_CLASS, take_census
from core.registry import workers
from core.store.store import Store

_COLUMNS: tuple[Verdict, ...] = ("added", "already there", "relabelled")


@dataclass(slots=True)
class Report:
    is_dry_run: bool
    by_class: dict[str, Counter[str]] = field(default_factory=dict)
    # By reason: how many files were skipped, and the first of them.
    skipped: dict[str, tuple[int, Path]] = field(default_factory=dict)
    # By class: the spellings in folders, where one differs from the stored label.
    joined: dict[str, list[str]] = field(default_factory=dict)

    def count(self, label: str, verdict: Verdict) -> None:
        self.by_class.setdefault(label, Counter())[verdict] += 1

    def skip(self, label: str | None, reason: str, path: Path) -> None:
        if label is not None:
            self.by_class.setdefault(label, Counter())["skipped"] += 1
        number, first = self.skipped.get(reason, (0, path))
        self.skipped[reason] = (number + 1, first)

    def total(self, verdict: str) -> int:
        return sum(counts[verdict] for counts in self.by_class.values())

    @property
    def num_usable(self) -> int:
        return sum(self.total(verdict) for verdict in (*_COLUMNS, "corrected since"))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} a second")


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar. Yields the function to call after each file."""
    columns = (
        TextColumn("Importing"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def print_report(report: Report, store: Store | None) -> None:
    title = "Would be imported" if report.is_dry_run else None
    shown = table(
        *("Class", "Added", "Already there", "Relabelled", "Skipped"),
        right=("Added", "Already there", "Relabelled", "Skipped"),
        title=title,
    )
    for label, counts in sorted(report.by_class.items()):
        there = counts["already there"] + counts["corrected since"]
        row = (counts["added"], there, counts["relabelled"], counts["skipped"])
        shown.add_row(label, *(f"{number:,}" if number else "-" for number in row))
    out.print(shown)
    for name, spellings in sorted(report.joined.items()):
        quoted = ", ".join(map(repr, spellings))
        out.print(
            f"One class, {name!r}: {count(len(spellings), 'folder')} {quoted}", soft_wrap=True
        )
    for reason, (number, first) in sorted(report.skipped.items()):
        others = f" and {number - 1:,} more" if number > 1 else ""
        out.print(f"Skipped, {reason}: {first}{others}", soft_wrap=True)
    corrected = report.total("corrected since")
    if corrected:
        out.print(f"{count(corrected, 'image')} corrected after an import: left unchanged.")
    if store is not None and not report.is_dry_run:
        _print_next(store, bool(report.total("added") or report.total("relabelled")))


def _print_next(store: Store, is_changed: bool) -> None:
    now = store.db.clock()
    with store.db.read() as conn:
        census = take_census(labels.current(conn))
        has_trainer = bool(workers.live(conn, now, "trainer"))
    if not is_changed:
        out.print("Nothing is new.")
    elif not census.is_enough:
        need = f"{MIN_CLASSES} classes of {MIN_EXAMPLES_OF_CLASS}"
        out.print(f"Too few labels to train on yet: training needs {need} images each.")
    elif has_trainer:
        out.print("A trainer is running and will retrain automatically: evergreen status")
    else:
        out.print(
            "No trainer is running. Train now: evergreen retrain --wait\n"
            "or let a server do it automatically: evergreen serve"
        )
