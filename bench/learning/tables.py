"""Progress bars, and tables of means and standard deviations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

# Starts a progress bar with a text and a total. Yields the function that sets its progress.
Follow = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

console = Console()
news = Console(stderr=True)


class following:
    """A progress bar as a context manager, as `Follow` describes."""

    def __init__(self, progress: Progress, text: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def __enter__(self) -> Callable[[int], None]:
        return lambda done: self._progress.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._progress.stop_task(self._task)


def per_class(text: str) -> int | None:
    return None if text == "all" else int(text)


def size(per_class: int | None) -> str:
    return "all" if per_class is None else str(per_class)


def cells(measured: Sequence[tuple[float, ...]], formats: Iterable[str]) -> list[str]:
    """Format the mean of each figure, with its standard deviation over seeds if it varies."""
    texts = []
    for values, form in zip(zip(*measured, strict=True), formats, strict=True):
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        mean = format(float(np.mean(values)), form)
        shows_spread = spread > 0 and form in (".3f", ".1f")
        texts.append(f"{mean} ± {spread:{form}}" if shows_spread else mean)
    return texts


def show(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, as_markdown: bool
) -> None:
    if as_markdown:
        right = ["---"] * 2 + ["---:"] * (len(headings) - 2)
        lines = [headings, right, *rows]
        print(f"{title}\n", *(f"| {' | '.join(line)} |" for line in lines), "", sep="\n")
        return
    table = Table(title=title)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="left" if at < 2 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
