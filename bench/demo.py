"""make demo: label handwritten digits in steps, and show after each step what the server learnt.

Accuracy is that on digits which are never labelled. *Label to live* is the time from the
acknowledgement of the last label until every worker answers with the new version.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tests.support.digits import Digit, digits
from tests.support.learning import measure_accuracy, send_labels, wait_until_live
from tests.support.server import Server, running

STEPS = (20, 50, 100, 200, 400, 800)
NUM_TEST = 300

console = Console()


def main() -> None:
    every_digit = digits()
    test, pool = every_digit[:NUM_TEST], every_digit[NUM_TEST:]
    table = Table(title="Handwritten digits, learnt while serving")
    for name in ("labels", "version", "classes", "accuracy", "label to live", "the gate"):
        table.add_column(name, justify="left" if name == "the gate" else "right")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home") as server:
        console.print(f"Serving on {server.url} with {server.num_workers} workers.")
        table.add_row("0", "1", "1000", _percent(measure_accuracy(server, test)), "", "ImageNet")
        num_sent = 0
        for step in STEPS:
            title = f"labels {num_sent + 1} to {step}"
            newest = send_labels_with_bar(server, pool[num_sent:step], title)
            num_sent = step
            seconds, run = wait_until_live(server, newest, test[0].image)
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
    console.print(f"Accuracy: on {NUM_TEST} digits that were never labelled.")


def send_labels_with_bar(server: Server, examples: list[Digit], title: str) -> int:
    """Label all examples, with a progress bar. Returns the id of the newest label."""
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=len(examples))
        return send_labels(server, examples, on_sent=lambda: progress.advance(task))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
