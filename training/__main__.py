"""`python -m training`: the trainer as a program. `evergreen worker` starts it too."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable

from core import logs
from core.errors import EvergreenError
from core.settings import adopt_new_names, load_settings
from core.system.priority import NICE, session_yields
from training.worker import analyst
from training.worker.long_runs import do_one
from training.worker.trainer import Trainer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument(
        "--stop-with-parent",
        action="store_true",
        help="stop when standard input closes, which it does when the parent ends",
    )
    parser.add_argument(
        "--one-long-run",
        action="store_true",
        help="do one run of tier backbone or blocks at idle priority, then exit",
    )
    parser.add_argument(
        "--one-analysis",
        action="store_true",
        help="analyse the newest version at idle priority, then exit",
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        adopt_new_names(os.environ)
        if options.one_long_run:
            stop = threading.Event()
            _stop_on_request(stop.set, options.stop_with_parent)
            do_one(settings, stop)
        elif options.one_analysis:
            # What it has not stored yet is nothing to wait for.
            _stop_on_request(lambda: os._exit(0), options.stop_with_parent)
            analyst.do_one(settings)
        else:
            session_yields(NICE)
            trainer = Trainer.open(settings)
            _stop_on_request(trainer.stop, options.stop_with_parent)
            trainer.serve()
    except EvergreenError as error:
        print(f"evergreen: {error}", file=sys.stderr)
        return 2
    return 0


def _stop_on_request(stop: Callable[[], None], with_parent: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop())
    signal.signal(signal.SIGINT, lambda *_: stop())
    if with_parent:
        threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()


def _follow_parent(stop: Callable[[], None]) -> None:
    # Not through sys.stdin: Python aborts at exit if a thread still holds its lock.
    while os.read(0, 4096):
        pass
    stop()


if __name__ == "__main__":
    sys.exit(main())
