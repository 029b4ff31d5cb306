"""The report of an import: a progress bar, a table by class, and the next step."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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

from cli.console import count, err, out, print_json, table
from core.exchange.importing.labeller import Labeller
from core.exchange.reading.items import KINDS, Item, Kind
from core.exchange.reading.source_file import shown
from core.labelling import labels
from core.labelling.census import MIN_CLASSES, MIN_EXAMPLES_OF_CLASS, take_census
from core.registry import workers
from core.store.store import Store

_THERE: tuple[Kind, ...] = ("already", "kept corrections", "duplicates")
_SKIPPED: tuple[Kind, ...] = ("conflicts", "unreadable")


@dataclass(slots=True)
class ByClass(Labeller):
    """Counts by class, too."""

    by_class: dict[str, Counter[Kind]] = field(default_factory=dict)
    # By what is wrong with files: how many there are, and the first of them.
    problems: dict[str, tuple[int, str]] = field(default_factory=dict)
    # By class: the spellings in the source, where one differs from the stored label.
    joined: dict[str, list[str]] = field(default_factory=dict)

    def count(self, item: Item, kind: Kind, why: str = "") -> None:
        self.report.count(kind, item.file.path, why)
        if item.label:
            self.by_class.setdefault(item.label, Counter())[kind] += 1
        if kind in _SKIPPED or kind == "ignored":
            title = "Ignored" if kind == "ignored" else "Skipped"
            reason = f"{title}, {why.partition(':')[0]}"
            number, first = self.problems.get(reason, (0, item.file.path))
            self.problems[reason] = (number + 1, first)


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


def print_report(done: ByClass, store: Store | None, *, is_dry_run: bool) -> None:
    by_class = table(
        *("Class", "Added", "Already there", "Relabelled", "Skipped"),
        right=("Added", "Already there", "Relabelled", "Skipped"),
        title="Would be imported" if is_dry_run else None,
    )
    for label, counts in sorted(done.by_class.items()):
        there, skipped = (sum(counts[kind] for kind in kinds) for kinds in (_THERE, _SKIPPED))
        row = (counts["added"], there, counts["relabelled"], skipped)
        by_class.add_row(label, *(f"{number:,}" if number else "-" for number in row))
    out.print(by_class)
    for name, spellings in sorted(done.joined.items()):
        quoted = ", ".join(map(repr, spellings))
        out.print(
            f"One class, {name!r}: {count(len(spellings), 'spelling')} {quoted}", soft_wrap=True
        )
    for reason, (number, first) in sorted(done.problems.items()):
        others = f" and {number - 1:,} more" if number > 1 else ""
        out.print(f"{reason}: {shown(first)}{others}", soft_wrap=True)
    counts = done.report.counts
    if counts["kept corrections"]:
        corrected = count(counts["kept corrections"], done.noun)
        out.print(f"{corrected} corrected after an import: left unchanged.")
    if store is not None and not is_dry_run:
        _print_next(store, bool(counts["added"] or counts["relabelled"]))


def as_json(done: ByClass, *, is_dry_run: bool) -> None:
    by_class = {
        label: {kind: counts[kind] for kind in KINDS if counts[kind]}
        for label, counts in sorted(done.by_class.items())
    }
    report = done.report.to_json()
    report["problems"] = [{"file": path, "what": why} for path, why in report["problems"]]
    more = {"classes": by_class, "spellings": done.joined, "batch_id": done.batch_id}
    print_json({**report, **more, "is_dry_run": is_dry_run})


def _print_next(store: Store, is_changed: bool) -> None:
    now = store.db.clock()
    with store.db.read() as conn:
        census = take_census(labels.current(conn))
        has_trainer = bool(workers.live(conn, now, "trainer"))
    if not is_changed:
        out.print("Nothing is new.")
    elif not census.is_enough:
        need = f"{MIN_CLASSES} classes of {MIN_EXAMPLES_OF_CLASS} {store.kind.plural} each"
        out.print(f"Too few labels to train on yet: training needs {need}.")
    elif has_trainer:
        out.print("A trainer is running and will retrain automatically: evergreen status")
    else:
        out.print(
            "No trainer is running. Train now: evergreen retrain --wait\n"
            "or let a server do it automatically: evergreen serve"
        )
