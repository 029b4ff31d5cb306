"""`evergreen worker`."""

from __future__ import annotations

import typer


def worker() -> None:
    """Train only: for a machine beside those that serve.

    Stop it with Ctrl-C or SIGTERM; a run that is under way goes back to wait for another worker.
    """
    from training.__main__ import main

    raise typer.Exit(main([]))
