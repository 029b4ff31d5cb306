"""`evergreen distil`: train a small backbone from a larger one, on images without labels."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli import home
from cli.actor import actor
from cli.console import err, out
from core import audit
from core.errors import InvalidRequest, NotReady
from core.labelling import examples
from core.models.pretrained import choice as pretrained
from core.models.pretrained import starter
from core.settings import load_settings
from core.store.store import Store

if TYPE_CHECKING:
    from training.distil.run import Distilled
    from training.distil.sources import Source

_INTERRUPTED = 130


def distil(
    images: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="A folder of images or an .npz file. May be repeated."),
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="The backbone to learn from.")
    ] = "torchvision/mobilenet_v2",
    teacher_weights: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A .safetensors file instead of a download."
        ),
    ] = None,
    student: Annotated[
        str,
        typer.Option(
            help="starter continues from the bundled one. slim is pruned from a MobileNetV2."
        ),
    ] = "starter",
    folder: Annotated[
        Path | None, typer.Option("--out", help="The folder of the student and its checkpoints.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 30.0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="A number of steps instead of minutes, which is reproducible."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A TOML file. Keys that it omits keep their defaults."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Compute threads. 0 means one per core.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
) -> None:
    """Train a small backbone from a larger one.

    The images are those that clients sent, or those of --images. They need no labels. After Ctrl-C
    the same command with --resume continues. To serve the new backbone, call
    `evergreen backbone use starter --weights FILE`: it trains on it, and the gate decides.
    """
    if importlib.util.find_spec("torch") is None:
        raise NotReady(
            "distilling needs torch: install it with pip install 'torch==2.13.0' "
            "'evergreen-classifier[distil]'"
        )
    settings = load_settings()
    # Imported here: torch takes seconds.
    from training.distil.recipe import DistilConfig, load_recipe
    from training.distil.run import distil as train
    from training.distil.sources import open_source

    def start(sources: tuple[Source, ...]) -> Distilled:
        config = DistilConfig(
            images=sources,
            out=folder or settings.home / "distil",
            student=student,
            teacher=teacher,
            teacher_weights=teacher_weights,
            teacher_cache=settings.home / "cache" / "weights",
            minutes=None if steps else minutes,
            steps=steps,
            resume=resume,
            threads=threads,
            recipe=load_recipe(recipe),
        )
        return _with_bar(lambda report, should_stop: train(config, report, should_stop))

    if images:
        result = start(tuple(open_source(path) for path in images))
    else:
        with home.opened_existing(settings) as store:
            _check(store)
            result = start((_captured(store),))
    if not result.is_finished:
        err.print("Stopped. The same command with --resume continues.")
        raise typer.Exit(_INTERRUPTED)
    out.print(f"{result.student}  {result.images_seen:,} views, loss {result.loss:.3f}")
    err.print(f"To use it: evergreen backbone use starter --weights {result.student}")


def _check(store: Store) -> None:
    """Raises InvalidRequest if what the home holds is nothing that a student takes."""
    if starter.NAME not in pretrained.names(store.kind):
        raise InvalidRequest(
            f"distil makes backbones for images, and this home holds {store.kind.plural}: name "
            "folders of images by --images"
        )


def _captured(store: Store) -> Source:
    from training.distil.sources import Captured

    with store.db.read() as conn:
        digests = examples.captured_digests(conn)
    if not digests:
        raise InvalidRequest(
            "no client has sent an image yet: send predictions first, or name a folder by --images"
        )
    audit.record_read(store.db, actor(), "images.read", "images to distil", count=len(digests))
    return Captured(digests, store.blobs.get)


_Report = Callable[[str, float, dict[str, float]], None]


def _with_bar(train: Callable[[_Report, Callable[[], bool]], Distilled]) -> Distilled:
    """Train with a progress bar, until done or interrupted."""
    is_interrupted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: is_interrupted.append(number))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err) as bar:
            task = bar.add_task("starting", total=1.0)

            def report(step: str, fraction: float, newest: dict[str, float]) -> None:
                loss = f" (loss {newest['loss']:.3f})" if newest else ""
                bar.update(task, description=f"{step}{loss}", completed=fraction)

            return train(report, lambda: bool(is_interrupted))
    finally:
        signal.signal(signal.SIGINT, before)
