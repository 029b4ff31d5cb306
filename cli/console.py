"""Printing: results on stdout, messages on stderr, times and numbers for people."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

# Labels and file names are user input, so their markup is not interpreted.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(stderr=True, markup=False, emoji=False, highlight=False)


def table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> Table:
    """Return an empty table. The columns named in `right` are right-aligned."""
    empty = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
    )
    for name in columns:
        empty.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return empty


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def as_json(record: Any) -> dict[str, Any]:
    """Return a dataclass as a JSON object, with times in ISO 8601."""
    fields = dataclasses.asdict(record)
    return {k: iso(v) if k.endswith(("_at", "_seen")) else v for k, v in fields.items()}


def iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def moment(seconds: float) -> str:
    """Format a time as local time, to the minute."""
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def ago(seconds: float) -> str:
    """Format how long ago a time was, in its largest unit."""
    age_s = max(0.0, time.time() - seconds)
    for unit, length_s in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if age_s >= length_s:
            return f"{count(int(age_s / length_s), unit)} ago"
    return f"{age_s:.0f} s ago"


def count(number: int, noun: str) -> str:
    """Format a number with its noun: `1 image`, `2 images`, `3 classes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def some(names: tuple[str, ...], most: int) -> str:
    """Join the names, or count them if there are more than `most`."""
    return ", ".join(names) if len(names) <= most else count(len(names), "class")
