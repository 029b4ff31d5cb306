"""Tables on the terminal or as Markdown, and progress bars of loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bench.load_results import LoadResult

console = Console()


def show(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool
) -> None:
    """Print a table. The first column is text, the others are figures."""
    if markdown:
        print(f"\n{title}\n\n| {' | '.join(columns)} |")
        print(f"|---|{'---:|' * (len(columns) - 1)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")
        return
    table = Table(title=title)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def bar() -> Progress:
    text = TextColumn("{task.description:<44}")
    # On stderr, so that stdout can go to a file.
    return Progress(
        text, BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    )


def wait(load: Future[LoadResult], progress: Progress, title: str, seconds: float) -> LoadResult:
    """Show a progress bar until a load ends. Returns its result."""
    task = progress.add_task(title, total=seconds)
    while not load.done():
        try:
            load.result(timeout=0.5)
        except TimeoutError:
            progress.advance(task, 0.5)
    progress.remove_task(task)
    return load.result()


def failures(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "0"
