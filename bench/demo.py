"""make demo: label handwritten digits in steps, and show after each step what the server learnt.

    python -m bench.demo [--input text]

With texts it labels support tickets, and version 1 knows their classes only by name. Accuracy is
that on digits or tickets which are never labelled. *Label to live* is the time from the
acknowledgement of the last label until every worker answers with the new version.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from bench.command_line import evergreen
from tests.support import tickets
from tests.support.digits import digits
from tests.support.learning import Example, measure_accuracy, send_labels, wait_until_live
from tests.support.server import Server, running

NUM_TEST = 300

console = Console()


@dataclass(frozen=True, slots=True)
class Demo:
    title: str
    plural: str
    examples: Sequence[Example]
    # How many are labelled after each step.
    steps: tuple[int, ...]
    # What version 1 knows.
    first: str
    # Arguments of `evergreen init`.
    init: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", choices=list(DEMOS), default="image")
    demo = DEMOS[parser.parse_args().input]()
    test, pool = demo.examples[:NUM_TEST], demo.examples[NUM_TEST:]
    table = Table(title=demo.title)
    for name in ("labels", "version", "classes", "accuracy", "label to live", "the gate"):
        table.add_column(name, justify="left" if name == "the gate" else "right")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if demo.init:
            evergreen(home, "init", *demo.init)
        with running(home) as server:
            console.print(f"Serving on {server.url} with {server.num_workers} workers.")
            classes, accuracy = str(server.status()["classes"]), measure_accuracy(server, test)
            table.add_row("0", "1", classes, _percent(accuracy), "", demo.first)
            num_sent = 0
            for step in demo.steps:
                title = f"labels {num_sent + 1} to {step}"
                newest = send_labels_with_bar(server, pool[num_sent:step], title)
                num_sent = step
                seconds, run = wait_until_live(server, newest, test[0])
                status = server.status()
                table.add_row(
                    str(step),
                    str(status["version"]),
                    str(status["classes"]),
                    _percent(measure_accuracy(server, test)),
                    f"{seconds:.2f} s" if seconds is not None else "held back",
                    str(run["reason"]).split(":")[0],
                )
    console.print(table)
    console.print(f"Accuracy: on {NUM_TEST} {demo.plural} that were never labelled.")


def _of_digits() -> Demo:
    title, steps = "Handwritten digits, learnt while serving", (20, 50, 100, 200, 400, 800)
    return Demo(title, "digits", digits(), steps, "ImageNet")


def _of_tickets() -> Demo:
    steps = (20, 50, 100, 200, 400)
    made = tickets.tickets(NUM_TEST + steps[-1])
    init = ("--input", "text", "--classes", ",".join(tickets.CLASSES))
    title = "Support tickets, learnt while serving"
    return Demo(title, "tickets", made, steps, "names only", init)


DEMOS = {"image": _of_digits, "text": _of_tickets}


def send_labels_with_bar(server: Server, examples: Sequence[Example], title: str) -> int:
    """Label all examples, with a progress bar. Returns the id of the newest label."""
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=len(examples))
        return send_labels(server, examples, on_sent=lambda: progress.advance(task))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
