"""`python -m training`: the trainer as a program. `evergreen worker` starts it too."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

from core import logs
from core.errors import EvergreenError
from core.settings import load_settings
from training.worker import Trainer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument(
        "--stop-with-parent",
        action="store_true",
        help="stop when standard input closes, as it does when the parent ends",
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        trainer = Trainer.open(settings)
    except EvergreenError as error:
        print(f"evergreen: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: trainer.stop())
    signal.signal(signal.SIGINT, lambda *_: trainer.stop())
    if options.stop_with_parent:
        threading.Thread(target=_follow_parent, args=(trainer,), daemon=True).start()
    trainer.serve()
    return 0


def _follow_parent(trainer: Trainer) -> None:
    # Not through sys.stdin: the interpreter aborts if a thread still holds its lock at the end.
    while os.read(0, 4096):
        pass
    trainer.stop()


if __name__ == "__main__":
    sys.exit(main())
