"""The command line of a distillation: options, a progress bar, and Ctrl-C that loses nothing."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.errors import EvergreenError
from training.distil_recipe import DistilConfig, load_recipe
from training.torch_distil import distil


def main(argv: Sequence[str] | None = None) -> None:
    """Distil as the options say. Exits with 130 if interrupted; `--resume` then goes on."""
    options = _parser().parse_args(argv)
    notes = Console(stderr=True)
    is_interrupted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: is_interrupted.append(number))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
    )
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes) as bar:
            task = bar.add_task("starting", total=1.0)

            def tell(doing: str, fraction: float, newest: dict[str, float]) -> None:
                loss = f" (loss {newest['loss']:.3f})" if newest else ""
                bar.update(task, description=f"{doing}{loss}", completed=fraction)

            ended = distil(_config(options), tell, lambda: bool(is_interrupted))
    except EvergreenError as error:
        raise SystemExit(f"distil: {error}") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if ended is None or not ended.is_finished:
        notes.print(f"Stopped. The same command with --resume goes on: {options.out}")
        raise SystemExit(130)
    print(f"{ended.student}: {ended.images_seen:,} views, loss {ended.loss:.3f}")


def _config(options: argparse.Namespace) -> DistilConfig:
    return DistilConfig(
        images=tuple(options.images),
        out=options.out,
        student=options.student,
        teacher=options.teacher,
        teacher_weights=options.teacher_weights,
        minutes=None if options.steps else options.minutes,
        steps=options.steps,
        resume=options.resume,
        threads=options.threads,
        recipe=load_recipe(options.recipe),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a small backbone from a larger teacher.")
    add = parser.add_argument
    add("--student", default="starter", help="starter (goes on), or slim (cut from the teacher)")
    add("--teacher", default="torchvision/mobilenet_v2", help="the name of a backbone")
    add("--teacher-weights", type=Path, help="its .safetensors; else they are downloaded")
    add("--images", type=Path, nargs="+", required=True, help="folders of images, .npz files")
    add("--out", type=Path, required=True, help="folder for the student and its checkpoints")
    add("--recipe", type=Path, help="TOML; what it leaves out keeps the built-in value")
    add("--minutes", type=float, default=30.0, help="budget of wall clock")
    add("--steps", type=int, help="budget in steps instead: the same every time")
    add("--threads", type=int, default=0, help="threads of computing, by default one a core")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, if it fits")
    return parser
