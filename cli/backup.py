"""`evergreen backup` and `evergreen restore`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli import home
from cli.actor import actor
from cli.console import count, err, moment, out, table
from cli.exit_codes import ARTIFACT
from core import audit
from core.backup import backups
from core.backup import restore as restoring
from core.backup.backups import Backup
from core.backup.pace import Pace
from core.backup.place import Place
from core.settings import load_settings
from core.store.store import Store, open_store
from core.system.priority import be_idle

_PlaceArgument = Annotated[
    str, typer.Argument(metavar="PLACE", help="A folder, or a URL such as s3://bucket/folder.")
]
_MaxMb = Annotated[
    float, typer.Option("--max-mb-s", min=0, help="Most MB to copy a second; 0 is no bound.")
]
_Verify = Annotated[bool, typer.Option("--verify", help="Read the whole backup and check it.")]
_MOST_NAMED = 20


def backup(
    place: _PlaceArgument,
    max_mb_s: _MaxMb = 50.0,
    keep: Annotated[int, typer.Option(min=0, help="Keep only so many backups; 0 keeps all.")] = 0,
    verify: _Verify = False,
) -> None:
    """Copy the database and the blobs to a folder or an object store.

    The service may run meanwhile. The next backup into the same place copies only new blobs.
    """
    be_idle()
    pace = Pace(max_mb_s * 1e6)
    with home.opened_existing(load_settings()) as store, _bar() as progress:
        target = Place(place)
        made = backups.make(store, target, store.db.clock(), pace, progress)
        _record(store, "backup.made", made.backup, place)
        num_gone = backups.prune(target, keep) if keep else 0
    out.print(
        f"Backup {made.backup.id}: the database, {count(made.backup.num_blobs, 'blob')}, of them "
        f"{made.num_new:,} new with {made.new_bytes / 1e6:,.1f} MB",
        soft_wrap=True,
    )
    if num_gone:
        out.print(f"Deleted {count(num_gone, 'older backup')}")
    _end_with([f"blob {digest} is damaged, and not in the backup" for digest in made.damaged])
    if verify:
        _verify(target, made.backup, pace)


def restore(
    place: _PlaceArgument,
    at: Annotated[
        str | None, typer.Option(metavar="ID", help="The backup to restore; the newest without.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the backups.")] = False,
    verify: _Verify = False,
) -> None:
    """Restore a backup into a new home.

    EVERGREEN_HOME names the new home, which must be empty. The database may be of another kind than
    the one that was backed up. With --verify it only checks the backup.
    """
    source = Place(place)
    if list_:
        _print_list(backups.read_all(source))
        return
    chosen = backups.find(source, at)
    if verify:
        _verify(source, chosen, Pace(0))
        return
    settings = load_settings()
    with contextlib.closing((store := open_store(settings)).db), _bar() as progress:
        restored = restoring.restore(source, chosen, store, progress)
        _record(store, "backup.restored", chosen, place)
    out.print(f"Restored backup {chosen.id} to {settings.home.absolute()}", soft_wrap=True)
    _end_with(restored.problems)
    out.print("Next: evergreen serve")


def _record(store: Store, action: str, which: Backup, place: str) -> None:
    with store.db.write() as conn:
        # A URL may hold a password.
        where = place.partition("://")[0] if "://" in place else "folder"
        now, subject = store.db.clock(), f"backup {which.id}"
        audit.record(conn, actor(), action, subject, now, blobs=which.num_blobs, where=where)


def _verify(place: Place, chosen: Backup, pace: Pace) -> None:
    with _bar() as progress:
        checked = restoring.verify(place, chosen, pace, progress)
    _end_with(checked.problems)
    out.print(f"Checked backup {chosen.id}: the database and {count(checked.num_blobs, 'blob')}")


def _end_with(problems: list[str]) -> None:
    """Print what is lost, and end with the code of damaged files, if anything is."""
    for problem in problems[:_MOST_NAMED]:
        err.print(problem, soft_wrap=True)
    if len(problems) > _MOST_NAMED:
        err.print(f"and {len(problems) - _MOST_NAMED:,} more")
    if problems:
        raise typer.Exit(ARTIFACT)


def _print_list(found: list[Backup]) -> None:
    rows = table("id", "made", "release", "blobs", "database", right=("blobs", "database"))
    for one in found:
        size = f"{one.database_bytes / 1e6:,.1f} MB"
        rows.add_row(one.id, moment(one.made_at), one.release, f"{one.num_blobs:,}", size)
    out.print(rows)


@contextlib.contextmanager
def _bar() -> Iterator[backups.Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield show
