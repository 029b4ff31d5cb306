"""The verbs of `evergreen`: for each its line of help, and the function that does it.

A function is imported when its verb is called, so that the list of verbs is there at once.
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
_TEACH = "Ask and teach"
_VERSIONS = "Versions"


class Verb(NamedTuple):
    name: str
    panel: str
    # module:function, or module:a Typer app with verbs of its own.
    target: str
    # The first line of that function's docstring; tests hold them equal.
    help: str


VERBS = (
    Verb("init", _RUN, "cli.init:init", "Make the database and the blob store, with version 1."),
    Verb("serve", _RUN, "cli.serve:serve", "Serve predictions over HTTP, and train beside it."),
    Verb("worker", _RUN, "cli.worker:worker", "Train only: for a machine beside those that serve."),
    Verb("status", _RUN, "cli.status:status", "Show what answers, who works, what waits."),
    Verb("predict", _TEACH, "cli.predict:predict", "Classify image files with the champion."),
    Verb("label", _TEACH, "cli.label:label", "Say what an image shows, or take a label back."),
    Verb(
        "import",
        _TEACH,
        "cli.import_folder:import_folder",
        "Label a folder of images, one folder per class.",
    ),
    Verb("retrain", _TEACH, "cli.retrain:retrain", "Train on everything labelled so far."),
    Verb("backbone", _TEACH, "cli.backbone:app", "Use another backbone, or list those there are."),
    Verb(
        "distil",
        _TEACH,
        "cli.distil:distil",
        "Train a small backbone of your own from a larger one.",
    ),
    Verb("versions", _VERSIONS, "cli.versions:app", "List the versions, or show one."),
    Verb("promote", _VERSIONS, "cli.champion:promote", "Make a version the champion."),
    Verb("rollback", _VERSIONS, "cli.champion:rollback", "Go back to the champion before this."),
    Verb("export", _VERSIONS, "cli.export:export", "Write a version to disk as ONNX."),
)


class Verbs(TyperGroup):
    """The group of all verbs. What Evergreen raises becomes one line and an exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for verb in VERBS:
            self.add_command(_Unloaded(verb))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EvergreenError as error:
            print(f"evergreen: {error}", file=sys.stderr)
            raise typer.Exit(exit_code(error)) from error


class _Unloaded(TyperCommand):
    """Stands for a verb in the list, and hands over to it when it is called."""

    def __init__(self, verb: Verb) -> None:
        super().__init__(verb.name, help=verb.help, rich_help_panel=verb.panel)
        self._verb = verb

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        return load(self._verb).make_context(info_name, args, parent, **extra)


def load(verb: Verb) -> Any:
    """Import the verb. Returns its command."""
    module, _, name = verb.target.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(verb.name, help=_unwrapped(function.__doc__))(function)
    return typer.main.get_command(found)


def _unwrapped(docstring: str) -> str:
    """Paragraphs of one line each, for the terminal to wrap."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
