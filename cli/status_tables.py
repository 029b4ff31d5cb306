"""The tables of `evergreen status`, 80 columns wide."""

from __future__ import annotations

from rich.table import Table

from cli.console import ago, count, out, percent, some, table
from cli.status_record import Status
from core.labelling.census import MIN_CLASSES, MIN_EXAMPLES_OF_CLASS
from core.runs import Run

_MOST_NAMES = 8
_MOST_ROWS = 20
_NAME_WIDTH = 8


def print_status(status: Status) -> None:
    # Not in the table, which would wrap a long path, and that cannot be copied.
    out.print(f"{'Home':<{_NAME_WIDTH}}  {status.home}", soft_wrap=True)
    out.print(_facts(status))
    for each in status.degraded:
        out.print(f"Degraded  {each.what}, since {ago(each.since)}: {each.reason}", style="red")
        out.print(f"          {each.remedy}")
    if status.serving or status.trainers:
        out.print(_processes(status))
    if status.census.num_trained or status.held_out:
        out.print(_labels(status))


def _facts(status: Status) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=_NAME_WIDTH)
    grid.add_column(overflow="fold")
    grid.add_row("Champion", _champion(status))
    if status.promotion is not None:
        promotion = status.promotion
        grid.add_row(
            "Loading", f"version {promotion.version}, requested {ago(promotion.created_at)}"
        )
    if not status.serving:
        grid.add_row("Servers", "none is running: evergreen serve")
    if not status.trainers and not any(run.state == "running" for run in status.unfinished):
        grid.add_row("Trainers", "none is running: evergreen serve, or evergreen worker")
    grid.add_row("Labels", _waiting(status))
    for run in status.unfinished:
        grid.add_row("Run", _unfinished(run))
    if status.last_run is not None:
        grid.add_row("Last run", _ended(status.last_run))
    return grid


def _champion(status: Status) -> str:
    live, version = status.activation, status.champion
    if live is None or version is None:
        return "none yet: evergreen init"
    precision = " in int8" if version.metrics.get("precision") == "int8" else ""
    classes = some(version.classes, _MOST_NAMES) or "no classes yet"
    if version.metrics.get("zero_shot"):
        classes = f"by the names {classes}"
    return (
        f"version {live.version}{precision} ({classes}), "
        f"since {ago(live.activate_at)}, by {live.who}"
    )


def _waiting(status: Status) -> str:
    if not status.census.num_trained and not status.held_out:
        return "none yet: evergreen import DIR, or evergreen label FILE LABEL"
    if status.oldest_waiting is None:
        news = "all are trained on"
    else:
        news = f"{status.num_waiting:,} not trained on yet, since {ago(status.oldest_waiting)}"
    if status.census.is_enough:
        return news
    need = f"{MIN_CLASSES} classes of {MIN_EXAMPLES_OF_CLASS} {status.kind.plural}"
    return f"{news}; too few to train: it needs {need} each"


def _unfinished(run: Run) -> str:
    if run.state == "waiting":
        return f"waits since {ago(run.created_at)}"
    return f"{run.step}, {percent(run.progress)}, started {ago(run.started_at or run.created_at)}"


def _ended(run: Run) -> str:
    ended = ago(run.finished_at or run.created_at)
    if run.state != "finished":
        return f"{run.state} {ended}: {run.error or run.reason}"
    # The gate's reason starts with its decision.
    return f"version {run.version}, {ended}: {run.reason}"


def _processes(status: Status) -> Table:
    shown = table("Process", "Host", "PID", "Version", "Runs on", "Seen", right=("PID", "Version"))
    for role, those in (("server", status.serving), ("trainer", status.trainers)):
        for worker in those:
            version = "-" if worker.version is None else str(worker.version)
            provider = worker.provider.removesuffix("ExecutionProvider")
            seen = ago(worker.last_seen)
            shown.add_row(role, worker.host, str(worker.pid), version, provider, seen)
            for problem in worker.failed.values():
                shown.add_row("", f"cannot load: {problem}", style="red")
    return shown


def _labels(status: Status) -> Table:
    """The classes: examples trained on and held out, and whether the champion knows the class."""
    shown = table("Class", "Train", "Held out", "", right=("Train", "Held out"))
    known = status.champion.classes if status.champion else ()
    trained = status.census.num_trained
    names = sorted(trained.keys() | status.held_out.keys())
    for name in names[:_MOST_ROWS]:
        mark = "" if name in known else "new"
        shown.add_row(name, f"{trained.get(name, 0):,}", f"{status.held_out[name]:,}", mark)
    if len(names) > _MOST_ROWS:
        rest = count(len(names) - _MOST_ROWS, "class")
        shown.caption = f"and {rest} more: --json lists them"
    return shown
