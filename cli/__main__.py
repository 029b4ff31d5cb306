"""The entry point of `evergreen`. `cli/commands.py` lists the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands import CommandGroup
from cli.exit_codes import SUMMARY

app = typer.Typer(
    name="evergreen",
    cls=CommandGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Settings are EVERGREEN_ variables. EVERGREEN_HOME is the data folder. {SUMMARY}",
)


def _print_release(wanted: bool) -> None:
    if wanted:
        from core.release import release

        print(f"evergreen {release()}")
        raise typer.Exit


@app.callback()
def evergreen(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_release, is_eager=True, help="Print the release and exit."
        ),
    ] = False,
) -> None:
    """A classifier of images or texts that keeps learning from the people who use it."""


if __name__ == "__main__":
    app()
