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
from cli.console import notes, out
from core.errors import InvalidRequest, NotReady
from core.labelling import captured
from core.settings import load_settings
from core.store.store import Store

if TYPE_CHECKING:
    from training.distil.run import Distilled
    from training.distil.sources import Source

_INTERRUPTED = 130


def distil(
    images: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="A folder of images or an .npz; may be given again."),
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
        typer.Option(help="starter continues the bundled one; slim is pruned from MobileNetV2."),
    ] = "starter",
    folder: Annotated[
        Path | None, typer.Option("--out", help="For the student and its checkpoints.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to learn.")] = 30.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="A budget in steps instead: the same every time.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="TOML; what it leaves out stays as it is."),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Of computing; 0 is one a core.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
) -> None:
    """Train a small backbone of your own from a larger one.

    On the images that people have sent, or on those of --images; they need no labels. Ctrl-C loses
    nothing: the same command with --resume goes on. The new backbone serves once
    `evergreen backbone use starter --weights FILE` has trained on it and the gate has agreed.
    """
    if importlib.util.find_spec("torch") is None:
        raise NotReady(
            "distilling needs torch: install it with pip install 'torch==2.13.0' "
            "'evergreen-classifier[distil]'"
        )
    settings = load_settings()
    # Imported here: torch takes seconds.
    from training.distil.recipe import DistilConfig, load_recipe
    from training.distil.run import distil as learn
    from training.distil.sources import open_source

    def begin(sources: tuple[Source, ...]) -> Distilled:
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
        return _shown(lambda tell, should_stop: learn(config, tell, should_stop))

    if images:
        ended = begin(tuple(open_source(path) for path in images))
    else:
        with home.opened_existing(settings) as store:
            ended = begin((_captured(store),))
    if not ended.is_finished:
        notes.print("Stopped. The same command with --resume goes on.")
        raise typer.Exit(_INTERRUPTED)
    out.print(f"{ended.student}  {ended.images_seen:,} views, loss {ended.loss:.3f}")
    notes.print(f"To use it: evergreen backbone use starter --weights {ended.student}")


def _captured(store: Store) -> Source:
    from training.distil.sources import Captured

    with store.db.read() as conn:
        digests = captured.digests(conn)
    if not digests:
        raise InvalidRequest(
            "nobody has sent an image yet: send predictions first, or name a folder with --images"
        )
    return Captured(digests, store.blobs.get)


_Tell = Callable[[str, float, dict[str, float]], None]


def _shown(learn: Callable[[_Tell, Callable[[], bool]], Distilled]) -> Distilled:
    """Learn with a bar, until done or interrupted."""
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
        with Progress(*columns, console=notes) as bar:
            task = bar.add_task("starting", total=1.0)

            def tell(doing: str, fraction: float, newest: dict[str, float]) -> None:
                loss = f" (loss {newest['loss']:.3f})" if newest else ""
                bar.update(task, description=f"{doing}{loss}", completed=fraction)

            return learn(tell, lambda: bool(is_interrupted))
    finally:
        signal.signal(signal.SIGINT, before)
