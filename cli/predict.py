"""`evergreen predict`: classify inputs with the champion, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli import home
from cli.console import err, print_json
from cli.exit_codes import DONE, INPUT
from cli.input_file import naming, read_input, read_lines, to_bytes
from cli.prediction_report import Outcome, as_json, print_many, print_one
from core import predictions
from core.errors import InputError, InvalidRequest, NotReady
from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.predict import predict as predict_input
from core.registry import promotions, versions
from core.retention.capture import Capture
from core.retention.policy import load_capture_policy
from core.settings import Settings, load_settings
from core.store.store import Store

# The name of an input, and how to get its bytes, which raises InputError.
_Given = tuple[str, bytes | InputError]


def predict(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="Files of one input each. -: standard input."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text itself. May be repeated.")
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of the files is a text of its own.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Classify image files or texts with the champion.

    It needs no server. Each prediction is stored, so that its id can be labelled.
    """
    settings = load_settings()
    if not files and not text:
        raise InvalidRequest("nothing to classify is named: name files, - or --text")
    outcomes: list[Outcome] = []
    is_one = not lines and len(files or ()) + len(text or ()) == 1
    with home.opened(settings) as store:
        given = _given(files or [], text or [], store, settings, lines=lines)
        for outcome in _predict_all(given, store, settings):
            outcomes.append(outcome)
            if isinstance(outcome.result, InputError):
                err.print(f"evergreen: {outcome.result}", soft_wrap=True)
            elif not json and is_one:
                print_one(outcome, outcome.result, top)
    if json:
        print_json([as_json(outcome, top) for outcome in outcomes])
    elif not is_one:
        print_many(outcomes, has_excerpts=store.kind.has_excerpts)
    has_failed = any(isinstance(outcome.result, InputError) for outcome in outcomes)
    raise typer.Exit(INPUT if has_failed else DONE)


def _given(
    files: list[Path], texts: list[str], store: Store, settings: Settings, *, lines: bool
) -> Iterator[_Given]:
    """Raises InvalidRequest if an option is not for the inputs of this home."""
    for number, text in enumerate(texts, start=1):
        yield f"text {number}", to_bytes(text, store.kind)
    for path in files:
        if lines:
            yield from read_lines(path, settings, store.kind)
            continue
        try:
            with naming(path):
                yield str(path), read_input(path, settings, store.kind)
        except InputError as error:
            yield str(path), error


def _predict_all(given: Iterator[_Given], store: Store, settings: Settings) -> Iterator[Outcome]:
    """Predict each input. Yields its result, or the error."""
    servable = load_champion(store, settings)
    limits = settings.limits
    capture = Capture(load_capture_policy(settings.recipe), store.disk)
    for name, content in given:
        if isinstance(content, InputError):
            yield Outcome(name, content)
            continue
        try:
            with naming(name):
                now = store.db.clock()
                result = predict_input(servable, content, store, limits, capture, now)
        except InputError as error:
            yield Outcome(name, error)
            continue
        predictions.add(store.db, [result.prediction])
        yield Outcome(name, result, store.kind.excerpt(content))


def load_champion(store: Store, settings: Settings) -> Servable:
    """Raises NotReady, ArtifactError, StoreError."""
    with store.db.read() as conn:
        live = promotions.newest_activation(conn)
        if live is None:
            raise NotReady("there is no champion: promote a version with `evergreen promote N`")
        version = versions.get(conn, live.version)
    manifest = versions.read_manifest(version, store)
    runtime = Runtime(settings.device, settings.onnx_threads, cache=settings.home / "cache")
    return load(manifest, store.blobs, runtime)
