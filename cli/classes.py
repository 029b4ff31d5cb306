"""`evergreen classes`: list the classes; rename, merge and delete them; undo such a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from cli import home
from cli.actor import actor
from cli.console import ago, as_json, count, err, out, percent, print_json, table
from core.class_names import NONE_OF_THESE
from core.inputs.kind import InputKind
from core.labelling import batches, class_changes
from core.labelling.class_changes import ClassChange
from core.plain_text import check_who
from core.review.listing.class_list import ClassList, read_class_list
from core.settings import load_settings

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_Who = Annotated[str, typer.Option(help="The author of the change.")]
_Name = Annotated[str, typer.Argument(metavar="CLASS", help="In any spelling.")]


@app.callback(invoke_without_command=True)
def listing(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, by name.")] = 1000,
    after: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Only classes after this name.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the classes, or rename, merge or delete some.

    The model learns of a change in the next run. `evergreen classes undo` takes it back.
    """
    if ctx.invoked_subcommand is not None:
        return
    with home.opened_existing(load_settings()) as store, store.db.read() as conn:
        found = read_class_list(conn, limit=limit, after=after)
    if json:
        none = {"name": NONE_OF_THESE, "examples": found.num_none_of_these}
        listed = [as_json(each) for each in found.classes]
        print_json({"classes": listed, "none_of_these": none, "can_learn": found.can_learn})
        return
    _print(found, store.kind)


@app.command()
def rename(
    old: _Name,
    new: Annotated[str, typer.Argument(metavar="NAME", help="The new name, or spelling.")],
    who: _Who = "anonymous",
) -> None:
    """Give a class another name."""
    _change(who, lambda store, **by: class_changes.rename(store, old, new, **by))


@app.command()
def merge(
    names: Annotated[list[str], typer.Argument(metavar="CLASS...", help="In any spelling.")],
    into: Annotated[str, typer.Option(metavar="CLASS", help="One of them, another, or a new one.")],
    who: _Who = "anonymous",
) -> None:
    """Make several classes one, which may be `none of these`."""
    _change(who, lambda store, **by: class_changes.merge(store, names, into, **by))


@app.command()
def delete(name: _Name, who: _Who = "anonymous") -> None:
    """Take the label of a class from all that have it."""
    _change(who, lambda store, **by: class_changes.delete(store, name, **by))


@app.command()
def undo(
    batch: Annotated[int, typer.Argument(metavar="BATCH", help="What the change answered with.")],
    who: _Who = "anonymous",
) -> None:
    """Undo a change of classes, or a batch of labels. Labels given since stay."""
    check_who(who)
    with home.opened_existing(load_settings()) as store:
        undone = batches.undo(store, batch, who=who, now=store.db.clock(), by=actor())
    changed = count(undone.restored or undone.retracted, "label")
    verb = "given back" if undone.restored else "retracted"
    others = count(undone.kept, store.kind.noun)
    kept = f"; {others} labelled since: unchanged" if undone.kept else ""
    out.print(f"Batch {batch} is undone: {changed} {verb}{kept}.", soft_wrap=True)


def _print(found: ClassList, kind: InputKind) -> None:
    if not found.classes and not found.num_none_of_these:
        out.print("Nothing is labelled yet: evergreen label FILE LABEL")
        return
    inputs = kind.plural.capitalize()
    columns = ("Class", inputs, "Held out", "Accuracy", "Judged", "Last label", "Live")
    shown = table(*columns, right=(inputs, "Held out", "Accuracy", "Judged"))
    for each in found.classes:
        shown.add_row(
            each.name,
            f"{each.examples:,}",
            f"{each.held_out:,}",
            "-" if each.accuracy is None else percent(each.accuracy),
            f"{each.judged:,}",
            "-" if each.last_label_at is None else ago(each.last_label_at),
            "yes" if each.in_champion else "no",
        )
    if found.num_none_of_these:
        shown.add_row(NONE_OF_THESE, f"{found.num_none_of_these:,}", "-", "-", "-", "-", "-")
    out.print(shown)
    if found.next_after is not None:
        err.print(f"There are more: --after {found.next_after!r} lists the next ones.")


def _change(who: str, change: Callable[..., ClassChange]) -> None:
    """`change` takes the store, and by whom and when it is made."""
    check_who(who)
    with home.opened_existing(load_settings()) as store:
        changed = change(store, who=who, now=store.db.clock(), by=actor())
    what = "have no label" if changed.name is None else f"are labelled {changed.name!r}"
    out.print(
        f"{count(changed.changed, store.kind.noun)} {what} now. "
        f"To take it back: evergreen classes undo {changed.batch_id}",
        soft_wrap=True,
    )
