"""`evergreen backbone`: list the backbones, or train on another one."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli import home
from cli.actor import actor
from cli.console import err, out
from cli.follow_run import follow, has_trainer
from core import audit, runs
from core.errors import InvalidRequest, NotReady
from core.inputs import kinds
from core.inputs.kind import InputKind
from core.labelling.census import require_enough
from core.models.pretrained import choice as pretrained
from core.registry import promotions, versions
from core.settings import Settings, load_settings
from core.store.store import Store
from training.backbones.backbone_ref import BackboneRef
from training.backbones.costs import MEASURED
from training.backbones.names import OTHER_NAMES, all_names, require_kind

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


_Wait = Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")]


@app.callback()
def backbone() -> None:
    """Train on another backbone, or list the available ones."""


@app.command("list")
def names() -> None:
    """List what the home can use, with costs and gains where they were measured."""
    kind = _kind(load_settings())
    listed = all_names(kind)
    is_measured = any(name in MEASURED for name in listed)
    table = Table(box=None, header_style="")
    table.add_column("backbone")
    for heading in ("MB", "x starter", "20 labels", "100 labels") if is_measured else ():
        table.add_column(heading, justify="right")
    for name in listed:
        table.add_row(name, *(_cells(name) if is_measured else ()))
    out.print(table)
    if is_measured:
        err.print(
            "MB: the file. x starter: time of a photo on one core, over the starter's.\n"
            "20 labels, 100 labels: right answers on five kinds of flowers, so many a class."
        )
    err.print(OTHER_NAMES[kind.spec_key])


def _kind(settings: Settings) -> InputKind:
    if not home.exists(settings):
        return kinds.requested(settings.input)
    with home.opened_existing(settings) as store:
        return store.kind


def _cells(name: str) -> list[str]:
    cost = MEASURED.get(name)
    if cost is None:
        return [""] * 4
    right = ["" if share is None else f"{share:.0f} %" for share in (cost.right_20, cost.right_100)]
    return [f"{cost.file_mb:.0f}", f"{cost.times_starter:.1f}", *right]


@app.command()
def use(
    name: Annotated[
        str,
        typer.Argument(
            help="efficientnet-lite0, torchvision/resnet18, ...; for texts hf/NAME or a folder."
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A .safetensors file instead of a download."
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in 8-bit integers, if the gate accepts it.")
    ] = False,
    wait: _Wait = False,
) -> None:
    """Train on another backbone, and let the gate decide.

    A run in the background computes the embeddings of all that is labelled again. The champion
    serves until the new version is ready, and after that if the gate rejects the new version.
    """
    settings = load_settings()
    with home.opened_existing(settings) as store:
        require_kind(name, store.kind)
        with store.db.read() as conn:
            require_enough(conn)
        err.print(f"Building {name} ...")
        if name in pretrained.names(store.kind) and weights is None:
            candidate = _bundled(store, name)
        else:
            candidate = _built(store, settings, name, weights)
        candidate = _with_its_spec(store, candidate)
        if int8 and candidate.quantised_from is None:
            candidate = _quantised(store, settings, candidate)
        _request_run(store, settings, candidate, wait)


def _with_its_spec(store: Store, candidate: BackboneRef) -> BackboneRef:
    """A backbone keeps the input spec of its first version, by which embeddings are stored."""
    with store.db.read() as conn:
        first = versions.first_of_backbone(conn, candidate.digest)
    if first is None:
        return candidate
    return replace(candidate, input_spec=versions.read_manifest(first, store).input_spec)


def _bundled(store: Store, name: str) -> BackboneRef:
    model = pretrained.load(name)
    size = model.head.weights_DK.shape[0]
    float32 = None if model.in_float32 is None else store.blobs.put(model.in_float32)
    digest = store.blobs.put(model.backbone)
    return BackboneRef(name, digest, model.input_spec, size, quantised_from=float32)


def _built(store: Store, settings: Settings, name: str, weights: Path | None) -> BackboneRef:
    if importlib.util.find_spec("torch") is None:
        raise NotReady(
            f"the backbone {name} needs torch: install it with pip install 'torch==2.13.0' "
            "'evergreen-classifier[training]', or [text-training] for texts"
        )
    # Imported here: torch takes seconds.
    from training.backbones.networks import build, export

    module = build(name, weights, cache=settings.home / "cache" / "weights")
    digest = store.blobs.put(export(module))
    return BackboneRef(module.name, digest, module.input_spec, module.embedding_size)


@app.command("int8")
def int8_(wait: _Wait = False) -> None:
    """Serve the champion's backbone in 8-bit integers, if the gate accepts it.

    The gate rejects it if accuracy drops by more than the usual margin, or if it is not faster on
    this machine. The float32 weights are kept, because fine-tuning needs them.
    """
    settings = load_settings()
    with home.opened_existing(settings) as store:
        with store.db.read() as conn:
            require_enough(conn)
            live = promotions.newest_activation(conn)
            assert live is not None  # an existing home has version 1
            version = versions.get(conn, live.version)
        manifest = versions.read_manifest(version, store)
        if manifest.quantised_from is not None:
            raise InvalidRequest(
                f"the champion, version {version.number}, is int8 already; "
                "`evergreen backbone use NAME` trains on a backbone in float32"
            )
        candidate = _quantised(store, settings, BackboneRef.from_manifest(manifest))
        _request_run(store, settings, candidate, wait)


def _quantised(store: Store, settings: Settings, candidate: BackboneRef) -> BackboneRef:
    # Imported here: onnxruntime's quantisation takes a second.
    from training.backbones.int8 import as_int8

    return as_int8(store, candidate, settings.limits, err.print)


def _request_run(store: Store, settings: Settings, candidate: BackboneRef, wait: bool) -> None:
    now = store.db.clock()
    with store.db.write() as conn:
        run, _ = runs.request(
            conn,
            trigger="request",
            now=now,
            tier="backbone",
            wanted={"backbone": candidate.to_request(store.signer)},
            by=actor(),
        )
        detail = {"run": run.id, "digest": candidate.digest}
        audit.record(conn, actor(), "backbone.chosen", f"backbone {candidate.name}", now, **detail)
        has_live_trainer = has_trainer(conn, now)
    if wait:
        raise typer.Exit(follow(store, settings, run.id))
    out.print(f"Run {run.id} is requested.")
    if not has_live_trainer:
        out.print("No trainer is running: start `evergreen serve` or `evergreen worker`.")
