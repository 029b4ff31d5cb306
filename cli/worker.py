"""`evergreen worker`: train without serving."""

from __future__ import annotations

import typer


def worker() -> None:
    """Only train, for a machine apart from those that serve.

    Stop it with Ctrl-C or SIGTERM. A run in progress returns to the queue for another trainer.
    """
    from training.__main__ import main

    raise typer.Exit(main([]))
