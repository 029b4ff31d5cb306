"""The commands of `evergreen`: the help line of each, and the function that runs it.

The function is imported when its command is called, so `evergreen --help` is fast.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from cli.exit_codes import exit_code
from core.errors import EvergreenError

_RUN = "Run"
_TEACH = "Predict and label"
_VERSIONS = "Versions"


class Command(NamedTuple):
    name: str
    panel: str
    # `module:function`, or `module:app` for a Typer app with subcommands.
    target: str
    # The first line of that function's docstring. A test compares them.
    help: str


COMMANDS = (
    Command(
        "init", _RUN, "cli.init:init", "Create the database and the blob store, with version 1."
    ),
    Command(
        "serve",
        _RUN,
        "cli.serve:serve",
        "Serve predictions over HTTP, and train in the background.",
    ),
    Command(
        "worker",
        _RUN,
        "cli.worker:worker",
        "Only train, for a machine apart from those that serve.",
    ),
    Command(
        "status",
        _RUN,
        "cli.status:status",
        "Show the champion, the processes, the labels and the runs.",
    ),
    Command(
        "backup",
        _RUN,
        "cli.backup:backup",
        "Copy the database and the blobs to a folder or an object store.",
    ),
    Command(
        "migrate",
        _RUN,
        "cli.migrate:migrate",
        "Bring the database to the schema of this release.",
    ),
    Command("restore", _RUN, "cli.backup:restore", "Restore a backup into a new home."),
    Command(
        "doctor",
        _RUN,
        "cli.doctor:doctor",
        "Check every row against every blob, and the database, the disk and the permissions.",
    ),
    Command("gc", _RUN, "cli.gc:gc", "Delete what the recipe says is too old."),
    Command("audit", _RUN, "cli.audit:list_events", "Show who did what, newest first."),
    Command("key", _RUN, "cli.key:app", "Make, list and revoke keys."),
    Command(
        "predict",
        _TEACH,
        "cli.predict:predict",
        "Classify image files or texts with the champion.",
    ),
    Command("label", _TEACH, "cli.label:label", "Label an image or a text, or retract a label."),
    Command(
        "classes",
        _TEACH,
        "cli.classes:app",
        "List the classes, or rename, merge or delete some.",
    ),
    Command(
        "import",
        _TEACH,
        "cli.import_folder:import_folder",
        "Label a folder, an archive or a table.",
    ),
    Command(
        "export-labels",
        _TEACH,
        "cli.export_labels:export_labels",
        "Write all labelled images or texts to a file.",
    ),
    Command(
        "queue",
        _TEACH,
        "cli.queue:queue",
        "List what is most worth a person's time to label.",
    ),
    Command(
        "learning-curve",
        _TEACH,
        "cli.learning_curve:learning_curve",
        "Show whether more labels are worth it, and of which class.",
    ),
    Command(
        "lost-images",
        _TEACH,
        "cli.lost_images:list_lost_images",
        "List the labelled images or texts that are lost, or erase some.",
    ),
    Command("erase", _TEACH, "cli.erase:app", "Erase an image or a text and what was made of it."),
    Command("retrain", _TEACH, "cli.retrain:retrain", "Train on all labels so far."),
    Command(
        "backbone",
        _TEACH,
        "cli.backbone:app",
        "Train on another backbone, or list the available ones.",
    ),
    Command(
        "distil",
        _TEACH,
        "cli.distil:distil",
        "Train a small backbone from a larger one.",
    ),
    Command("versions", _VERSIONS, "cli.versions:app", "List the versions, or show one."),
    Command(
        "replay",
        _VERSIONS,
        "cli.replay:replay",
        "Train the head of a version again, and compare the files.",
    ),
    Command("promote", _VERSIONS, "cli.champion:promote", "Make a version the champion."),
    Command("rollback", _VERSIONS, "cli.champion:rollback", "Go back to the previous champion."),
    Command("export", _VERSIONS, "cli.export:export", "Write a version to disk as ONNX."),
)


class CommandGroup(TyperGroup):
    """The group of all commands. Prints an Evergreen error as one line, and sets the exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for command in COMMANDS:
            self.add_command(_LazyCommand(command))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EvergreenError as error:
            print(f"evergreen: {error}", file=sys.stderr)
            raise typer.Exit(exit_code(error)) from error


class _LazyCommand(TyperCommand):
    """A command in the list, whose function is imported when it is called."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name, help=command.help, rich_help_panel=command.panel)
        self._command = command

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        return load(self._command).make_context(info_name, args, parent, **extra)


def load(command: Command) -> Any:
    """Import the function or app of a command. Returns it as a command of Click."""
    module, _, name = command.target.partition(":")
    target = getattr(importlib.import_module(module), name)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    app = typer.Typer(add_completion=False)
    app.command(command.name, help=_unwrapped(target.__doc__))(target)
    return typer.main.get_command(app)


def _unwrapped(docstring: str) -> str:
    """Join the lines of each paragraph, so that the terminal wraps them."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
