"""What `bentoml serve` runs: the service `Evergreen`, and the service `Trainer`.

They share the database and never call each other. BentoML's own logging, metrics, tracing and
probes are off, because we have ours.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, Any

from core.system.host import pid_space

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")

import bentoml
from bentoml.validators import ContentType
from starlette.types import ASGIApp, Receive, Scope, Send

from core import logs
from core.errors import StoreError
from core.inputs import kinds
from core.inputs.kind import InputKind
from core.models.onnx_sessions import num_usable_gpus
from core.settings import Settings, adopt_new_names, load_settings
from core.store.database import Database
from core.store.drivers.time_limits import TimeLimits
from core.store.home_kind import read_kind
from service.api.app import build_routes, create_app
from service.api.routes import bentoml as bentoml_routes
from service.api.routes.predict import DEFAULT_TOP, predict_here
from service.api.schemas.predictions import PredictionResponse
from service.inference.serving_process import ServingProcess
from service.processes import parent_watch, placement
from service.processes.trainer_supervisor import Supervisor
from service.traffic.forwarding import Forwarder
from service.traffic.load_table import open_load_table


def keep_data_out_of_bento(root: Path, environ: MutableMapping[str, str]) -> None:
    """BentoML serves a Bento from the Bento's own folder, which the next Bento does not share. So a
    relative EVERGREEN_HOME is relative to BENTOML_HOME there."""
    if (root.parent / "bento.yaml").exists():
        bentoml_home = environ.get("BENTOML_HOME") or Path.home() / "bentoml"
        home = Path(bentoml_home, environ.get("EVERGREEN_HOME") or "evergreen-data")
        environ["EVERGREEN_HOME"] = str(home)


keep_data_out_of_bento(Path(__file__).parents[1], os.environ)
# uvicorn would take the address of a client from what a proxy on this machine says. The gate must
# see who is connected.
os.environ["FORWARDED_ALLOW_IPS"] = ""
SETTINGS = load_settings()
logs.configure(SETTINGS.log_level)
adopt_new_names(os.environ)
# Without a handler, uvicorn does not format access log lines, which nobody would read.
logging.getLogger("uvicorn.access").propagate = False
_QUIET: dict[str, Any] = {
    "logging": {"access": {"enabled": False}},
    "metrics": {"enabled": False},  # its label is the path, so the series would be unbounded
    "tracing": {"excluded_urls": ".*"},
    "runner_probe": {"enabled": False},  # readiness does not depend on the trainer
}
if bentoml.server_context.worker_index is None:  # BentoML's master imports this too
    parent_watch.announce_master(os.environ)
else:
    parent_watch.end_with_master(os.environ, SETTINGS.drain_s + SETTINGS.stop_within_s)
_NUM_GPUS = num_usable_gpus(SETTINGS.device)

app = create_app(SETTINGS)


def kind_of_home(settings: Settings) -> InputKind:
    """That of the home, or the one that a new home gets, also where the database cannot be read:
    opening the store says then what is wrong."""
    requested = kinds.requested(settings.input)
    url = settings.resolved_database_url
    if url.startswith("sqlite") and not (settings.home / "evergreen.db").exists():
        return requested
    db = Database(url, TimeLimits(settings.store_connect_s, settings.store_timeout_s))
    try:
        return read_kind(db)
    except StoreError:
        return requested
    finally:
        db.close()


_KIND = kind_of_home(SETTINGS)


async def _predict(evergreen: Evergreen, content: bytes) -> PredictionResponse:
    predictor = evergreen.serving.predictor
    result = await predictor.predict(await predictor.servable(), content)
    return PredictionResponse.from_record(result, DEFAULT_TOP)


# For the schema, and for calls within the process: over HTTP, the app has this route.
async def _predict_bytes(
    self: Evergreen, image: Annotated[bytes, ContentType("image/*")], /
) -> PredictionResponse:
    """Classify an image, for BentoML's own clients. Others use POST /v1/predict."""
    return await _predict(self, image)


async def _predict_string(self: Evergreen, text: str) -> PredictionResponse:
    """Classify a text, for BentoML's own clients. Others use POST /v1/predict."""
    return await _predict(self, _KIND.encode(text))


# The name in the schema, and of the method of BentoML's clients.
_predict_bytes.__name__ = _predict_string.__name__ = "predict"


@bentoml.service(name="Trainer", workers=1, **_QUIET)
class Trainer:
    @bentoml.on_startup
    def start_supervisor(self) -> None:
        self.supervisor = Supervisor()
        self.supervisor.start()

    @bentoml.on_shutdown
    def stop_supervisor(self) -> None:
        self.supervisor.stop()


@bentoml.service(
    name="Evergreen",
    workers=placement.num_workers(SETTINGS, _NUM_GPUS),
    threads=SETTINGS.onnx_threads + 1,
    # BentoML accepts no service without a timeout. Its timer for a request lives that long, so
    # the timeout is short, yet longer than what we wait for a body.
    traffic={"timeout": 60},
    **_QUIET,
)
@bentoml.asgi_app(app, path="/")
class Evergreen:
    if SETTINGS.run_trainer:
        trainer = bentoml.depends(Trainer)

    def __init__(self) -> None:
        gpu = placement.gpu_of(bentoml.server_context.worker_index, _NUM_GPUS)
        self.serving = ServingProcess.start(SETTINGS, gpu)
        app.state.serving = self.serving
        build_routes(app)
        # What is loaded now stays, so the garbage collector need not visit it again.
        gc.collect()
        gc.freeze()

    @bentoml.on_startup
    async def drain_on_request(self) -> None:
        self.serving.drain.install()

    @bentoml.on_startup
    async def start_forwarding(self) -> None:
        self.opened = contextlib.AsyncExitStack()
        # With batching, forwarding would only make the batches smaller.
        table = None if self.serving.is_batching else open_load_table(SETTINGS.shared, pid_space())
        if table is None:
            return
        self.opened.callback(table.close)
        forwarder = Forwarder(
            table,
            self.serving.admission,
            functools.partial(predict_here, self.serving),
            max_parallel=self.serving.predictor.max_parallel,
            max_bytes=SETTINGS.max_body_bytes,
        )
        if await forwarder.start():
            self.opened.push_async_callback(forwarder.stop)
            self.serving.forwarder = forwarder

    @bentoml.on_shutdown
    async def stop_serving(self) -> None:
        await self.opened.aclose()
        self.serving.stop()

    predict = bentoml.api(route=bentoml_routes.PATH)(
        _predict_bytes if _KIND.wire.json_field is None else _predict_string
    )


class OursFirst:
    """ASGI. Every request goes to the app. BentoML's own routes take bodies of any size, ignore
    what they do not know, and respond to some forms with 500."""

    def __init__(self, bentoml_app: ASGIApp) -> None:
        self._bentoml_app = bentoml_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] in ("http", "websocket")
        await (app if is_request else self._bentoml_app)(scope, receive, send)


Evergreen.add_asgi_middleware(OursFirst)  # type: ignore[attr-defined]
app.state.bentoml_schema = Evergreen.schema()  # type: ignore[attr-defined]
