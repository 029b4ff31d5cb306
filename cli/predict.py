"""`evergreen predict`: classify files with the champion, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import home
from cli.console import err, out, percent, print_json, table
from cli.exit_codes import DONE, INPUT
from cli.image_file import naming, read_image
from core import predictions
from core.errors import InputError, NotReady
from core.models.backbones import Runtime
from core.models.servable import Servable, load
from core.predict import PredictionResult
from core.predict import predict as predict_image
from core.registry import promotions, versions
from core.retention.capture import Capture
from core.retention.policy import load_capture_policy
from core.settings import Settings, load_settings
from core.store.store import Store

_UNFAMILIAR = "unlike everything labelled"


def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Classify image files with the champion.

    It needs no server. Each prediction is stored, so that its id can be labelled.
    """
    settings = load_settings()
    results: list[tuple[Path, PredictionResult | InputError]] = []
    with home.opened(settings) as store:
        for path, result in _predict_all(files, store, settings):
            results.append((path, result))
            if isinstance(result, InputError):
                err.print(f"evergreen: {result}", soft_wrap=True)
            elif not json and len(files) == 1:
                _print_one(path, result, top)
    if json:
        print_json([_as_json(path, result, top) for path, result in results])
    elif len(files) > 1:
        _print_many([(p, r) for p, r in results if isinstance(r, PredictionResult)])
    has_failed = any(isinstance(result, InputError) for _, result in results)
    raise typer.Exit(INPUT if has_failed else DONE)


def _predict_all(
    files: list[Path], store: Store, settings: Settings
) -> Iterator[tuple[Path, PredictionResult | InputError]]:
    """Predict each file. Yields its result, or the error."""
    servable = load_champion(store, settings)
    limits = settings.limits
    capture = Capture(load_capture_policy(settings.recipe), store.disk)
    for path in files:
        try:
            with naming(path):
                image = read_image(path, settings)
                now = store.db.clock()
                result = predict_image(servable, image, store, limits, capture, now)
        except InputError as error:
            yield path, error
            continue
        predictions.add(store.db, [result.prediction])
        yield path, result


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


def _print_one(path: Path, result: PredictionResult, top: int) -> None:
    prediction = result.prediction
    unsure = ", too unsure to rely on" if result.abstains else ""
    unfamiliar = f", {_UNFAMILIAR}" if prediction.unfamiliar else ""
    out.print(
        f"{path}: {prediction.label}, {percent(prediction.confidence)} "
        f"(version {prediction.version}{unsure}{unfamiliar})",
        soft_wrap=True,
    )
    shown = table("Class", "Confidence", right=("Confidence",))
    for name, confidence in result.best(top):
        shown.add_row(name, percent(confidence))
    out.print(shown)
    out.print(f"Is it something else? evergreen label {prediction.id} LABEL", soft_wrap=True)


def _print_many(results: list[tuple[Path, PredictionResult]]) -> None:
    shown = table("File", "Label", "Conf.", "Prediction", right=("Conf.",))
    shown.columns[-1].no_wrap = True
    for path, result in results:
        prediction = result.prediction
        mark = "?" * result.abstains + "!" * bool(prediction.unfamiliar)
        shown.add_row(
            str(path), prediction.label + mark, percent(prediction.confidence), prediction.id
        )
    out.print(shown)
    if any(result.abstains for _, result in results):
        out.print("?  too unsure to rely on")
    if any(result.prediction.unfamiliar for _, result in results):
        out.print(f"!  {_UNFAMILIAR}")


def _as_json(path: Path, result: PredictionResult | InputError, top: int) -> dict[str, Any]:
    if isinstance(result, InputError):
        return {"file": str(path), "error": {"code": result.code, "detail": str(result)}}
    prediction = result.prediction
    return {
        "file": str(path),
        "prediction_id": prediction.id,
        "version": prediction.version,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "abstains": result.abstains,
        "unfamiliar": prediction.unfamiliar,
        "top": [{"label": name, "confidence": c} for name, c in result.best(top)],
    }
