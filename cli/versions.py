"""`evergreen versions`: list them, show one with the gate's checks, compare two, or sign them."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from cli import home
from cli.console import as_json, count, err, moment, out, percent, print_json, some, table
from cli.exit_codes import ARTIFACT
from core.errors import ArtifactError
from core.models.manifest import Manifest
from core.registry import promotions, version_files, versions
from core.registry.versions import Version
from core.settings import load_settings

_MOST_NAMES = 5
_MOST_CLASSES = 20
_JUDGES = {"hold-out": "hold-out", "cross-validation": "cross-val."}


class _NumberShows(TyperGroup):
    """`versions 3` is `versions show 3`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["show", *args] if args[0].isdigit() else args)


app = typer.Typer(
    cls=_NumberShows,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="[N | COMMAND]",
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def listing(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, the newest first.")] = 50,
    json: _Json = False,
) -> None:
    """List the versions, or show one.

    `evergreen versions 3` shows version 3: its classes, and what the gate checked.
    """
    if ctx.invoked_subcommand is not None:
        return
    with home.opened_existing(load_settings()) as store, store.db.read() as conn:
        live = promotions.newest_activation(conn)
        newest = versions.listing(conn, limit=limit)
        lost = version_files.recorded_lost(conn, newest)
    number = live.version if live else None
    if json:
        print_json([_as_json(each, number, lost.get(each.number, {})) for each in newest])
        return
    out.print(_list(newest, number, lost))
    if len(newest) == limit:
        err.print(f"Only the newest {limit:,} are listed; --limit takes more.")


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="N", help="The number of the version.")],
    json: _Json = False,
) -> None:
    """Show a version: its training data, and what the gate checked."""
    with home.opened_existing(load_settings()) as store:
        with store.db.read() as conn:
            version = versions.get(conn, number)
            live = promotions.newest_activation(conn)
        is_kept = version.retired_at is None
        problems = version_files.note(store, version) if is_kept else {}
        has_manifest = is_kept and "manifest.json" not in problems
        manifest = versions.read_manifest(version, store) if has_manifest else None
    is_champion = live is not None and live.version == number
    if json:
        lost = version_files.describe(problems)
        fields = _as_json(version, number if is_champion else None, lost)
        read = json_format.loads(manifest.to_bytes()) if manifest else None
        print_json(fields | {"manifest": read})
        _end_with(problems)
        return
    out.print(f"Version {number}{', the champion' if is_champion else ''}", style="bold")
    out.print(_facts(version, manifest))
    checks = version.gate.get("checks", ())
    if checks:
        out.print(_checks(checks))
    if version.metrics.get("classes"):
        out.print(_by_class(version.metrics["classes"]))
    _end_with(problems)


def _end_with(problems: Mapping[str, ArtifactError]) -> None:
    """Say what is wrong with its files, and end with the code of damaged ones."""
    for name, error in problems.items():
        err.print(f"It cannot be loaded, because of its {name}: {error}", soft_wrap=True)
    if problems:
        raise typer.Exit(ARTIFACT)


@app.command()
def diff(
    before: Annotated[int, typer.Argument(metavar="A", help="The version to compare with.")],
    after: Annotated[int, typer.Argument(metavar="B", help="The version to compare.")],
    json: _Json = False,
) -> None:
    """Compare two versions on today's held-out examples, overall and by class.

    Also lists the examples that only one of them gets right.
    """
    # Imported here: the other commands need nothing of training.
    from cli.versions_diff import print_difference

    settings = load_settings()
    with home.opened_existing(settings) as store:
        print_difference(store, settings, before, after, json)


@app.command()
def sign(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[N]...", help="The versions; all without.")
    ] = None,
    old_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that signed them until now.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether to sign them.")] = False,
) -> None:
    """Sign versions with the key of EVERGREEN_MANIFEST_KEY_FILE.

    Each one's files and its golden output are checked first. Sign what you trust only: a version
    that appears unsigned after the key was set was put there by somebody without it. With
    --old-key-file, versions that the earlier key signed are signed anew, and no others.
    """
    # Imported here: it loads models.
    from cli.versions_sign import sign_versions

    with home.opened_existing(load_settings()) as store:
        sign_versions(store, numbers or [], old_key_file, is_confirmed=yes)


def _list(
    listed: list[Version], champion_number: int | None, lost: dict[int, dict[str, str]]
) -> Table:
    shown = table(
        *("No.", "", "Created", "Classes", "Images", "Accuracy", "Judged by", "Gate"),
        right=("No.", "Images", "Accuracy"),
    )
    for version in listed:
        is_champion = version.number == champion_number
        shown.add_row(
            str(version.number),
            "*" if is_champion else "",
            Text(moment(version.created_at), no_wrap=True),
            some(version.classes, _MOST_NAMES),
            f"{version.metrics['num_trained']:,}" if "num_trained" in version.metrics else "-",
            _accuracy(version),
            Text(_JUDGES.get(version.metrics.get("judged_by", ""), "-"), no_wrap=True),
            Text("files lost", "red")
            if version.number in lost
            else Text(_gate(version), no_wrap=True),
            style="bold" if is_champion else "",
        )
    shown.caption = "* the champion"
    return shown


def _gate(version: Version) -> str:
    decision = "passed" if version.passed_gate else "held back"
    return decision if version.retired_at is None else f"{decision}, retired"


def _facts(version: Version, manifest: Manifest | None) -> Table:
    metrics = version.metrics
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    rows = {
        "Created": moment(version.created_at),
        "Classes": some(version.classes, _MOST_CLASSES),
        "Retired": moment(version.retired_at) if version.retired_at else "",
        "Trained on": _trained_on(manifest) if manifest else "",
        "After version": str(version.parent) if version.parent else "",
        "Run": version.run_id or "",
    }
    if metrics.get("accuracy") is not None:
        judged = f"{count(metrics['num_judged'], 'image')} by {metrics['judged_by']}"
        rows["Accuracy"] = f"{_accuracy(version)} of {judged}"
    if metrics.get("precision") == "int8":
        rows["Precision"] = "int8"
    unfamiliar = metrics.get("unfamiliar")
    if unfamiliar is not None:
        nearest = f"{count(unfamiliar['num_references'], 'reference')}"
        rows["Unfamiliar"] = f"below {unfamiliar['threshold']:.3f} to the nearest of {nearest}"
    rows["Gate"] = str(version.gate.get("reason", ""))
    for name, value in rows.items():
        if value:
            grid.add_row(name, value)
    return grid


def _trained_on(manifest: Manifest) -> str:
    return f"{count(manifest.num_trained, 'image')}, {manifest.num_held_out:,} held out"


def _checks(checks: list[dict[str, Any]]) -> Table:
    shown = table("Check", "", "Finding")
    for check in checks:
        shown.add_row(
            check["name"],
            Text("passed") if check["passed"] else Text("failed", style="red"),
            check["detail"],
        )
    return shown


def _by_class(classes: dict[str, dict[str, int]]) -> Table:
    shown = table("Class", "Judged", "Right", right=("Judged", "Right"))
    for name, counts in list(classes.items())[:_MOST_CLASSES]:
        share = f"  {percent(counts['right'] / counts['judged'])}" if counts["judged"] else ""
        shown.add_row(name, f"{counts['judged']:,}", f"{counts['right']:,}{share}")
    if len(classes) > _MOST_CLASSES:
        shown.caption = f"and {len(classes) - _MOST_CLASSES:,} more: --json lists them"
    return shown


def _accuracy(version: Version) -> str:
    accuracy = version.metrics.get("accuracy")
    return "-" if accuracy is None else percent(accuracy)


def _as_json(version: Version, champion_number: int | None, lost: dict[str, str]) -> dict[str, Any]:
    fields = as_json(version)
    return {
        "version": fields.pop("number"),
        "is_champion": version.number == champion_number,
        **fields,
        "lost_files": lost,
    }
