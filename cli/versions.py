"""`evergreen versions`: list them, show one with the gate's checks, compare two, or sign them."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import home, versions_tables
from cli.console import as_json, err, out, print_json
from cli.exit_codes import ARTIFACT
from core.errors import ArtifactError
from core.registry import promotions, version_files, versions
from core.registry.versions import Version
from core.review import analyses
from core.settings import load_settings


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
    out.print(versions_tables.list_of(newest, number, lost, store.kind))
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
            analysis = analyses.of_version(conn, number)
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
    out.print(versions_tables.facts(version, manifest, store.kind))
    summary = {} if analysis is None else analysis.summary
    if known := versions_tables.known_unknowns(summary, store.kind):
        out.print(known, soft_wrap=True)
    checks = version.gate.get("checks", ())
    if checks:
        out.print(versions_tables.checks(checks))
    if version.metrics.get("classes"):
        out.print(versions_tables.by_class(version.metrics["classes"]))
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
def confusion(
    number: Annotated[int, typer.Argument(metavar="N", help="The number of the version.")],
    json: _Json = False,
) -> None:
    """Show what a version takes for what, on today's held-out examples.

    Lists the labels that it confuses most often. With --json, prints the whole matrix.
    """
    from cli.versions_diff import print_confusion

    settings = load_settings()
    with home.opened_existing(settings) as store:
        print_confusion(store, settings, number, json)


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


def _as_json(version: Version, champion_number: int | None, lost: dict[str, str]) -> dict[str, Any]:
    fields = as_json(version)
    return {
        "version": fields.pop("number"),
        "is_champion": version.number == champion_number,
        **fields,
        "lost_files": lost,
    }
