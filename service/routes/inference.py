"""The Open Inference Protocol v2, for clients that know any server of it, `tritonclient` for one.

Its errors are `{"error": ...}`; `service/problems.py` sees to that, by the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from core.errors import UnknownModel
from core.release import release
from core.servable import Servable
from service import infer_messages, inference
from service.admission import Deadline
from service.departures import unless_gone
from service.deps import DeadlineDep, ServingDep
from service.infer_messages import HEADER_LENGTH
from service.inference import MAX_BATCH, MODEL, TensorSpec
from service.problems import DOCUMENTED, ProtocolError
from service.serving import Serving


async def _known(model: Annotated[str, Path(examples=[MODEL])]) -> str:
    if model != MODEL:
        raise UnknownModel(f"there is no model {model[:40]!r}; the one here is {MODEL!r}")
    return model


router = APIRouter(
    tags=["inference protocol"],
    responses={status: {"model": ProtocolError} for status in DOCUMENTED},
)
# Each path in full: of a router inside a router, the metrics would see but its own part.
_models = APIRouter(dependencies=[Depends(_known)])


class ServerMetadata(BaseModel):
    name: str = "evergreen"
    version: str = Field(description="The release of the service.")
    extensions: list[str]


class Live(BaseModel):
    live: bool = True


class Ready(BaseModel):
    ready: bool = True


class ModelReady(BaseModel):
    name: str = MODEL
    ready: bool = True


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1 stands for the batch.")

    @staticmethod
    def of(spec: TensorSpec) -> TensorMetadata:
        return TensorMetadata(name=spec.name, datatype=spec.datatype, shape=list(spec.shape))


class ModelParameters(BaseModel):
    classes: list[str] = Field(description="In the order of `probabilities`.")
    max_batch_size: int
    abstain_below: float | None = Field(
        description="With less confidence, `/v1/predict` would say that it abstains; null: never."
    )


class ModelMetadata(BaseModel):
    name: str = MODEL
    versions: list[str] = Field(description="Those that answer in this process.")
    platform: str = "onnxruntime_onnx"
    inputs: list[TensorMetadata] = Field(description="A request sends one of them.")
    outputs: list[TensorMetadata]
    parameters: ModelParameters

    @staticmethod
    def of(servable: Servable, loaded: Sequence[int]) -> ModelMetadata:
        manifest = servable.manifest
        return ModelMetadata(
            versions=[str(number) for number in loaded],
            inputs=[TensorMetadata.of(spec) for spec in inference.inputs_of(manifest)],
            outputs=[TensorMetadata.of(spec) for spec in inference.outputs_of(manifest)],
            parameters=ModelParameters(
                classes=list(manifest.classes),
                max_batch_size=MAX_BATCH,
                abstain_below=manifest.abstain_below,
            ),
        )


@router.get("/v2", response_model=ServerMetadata)
def server() -> ServerMetadata:
    """What serves, and which extensions of the protocol it knows."""
    return ServerMetadata(version=release(), extensions=["binary_tensor_data", "classification"])


@router.get("/v2/health/live", response_model=Live)
def live() -> Live:
    """The process answers."""
    return Live()


@router.get("/v2/health/ready", response_model=Ready)
async def ready(serving: ServingDep) -> Ready:
    """A version is loaded; 503 until then."""
    serving.slot.current()
    return Ready()


@_models.get("/v2/models/{model}", response_model=ModelMetadata)
async def model(serving: ServingDep) -> ModelMetadata:
    """The inputs and outputs of the champion, and its classes."""
    found = await inference.servable_of(serving, None)
    return ModelMetadata.of(found, serving.swap.loaded.numbers)


@_models.get("/v2/models/{model}/versions/{version}", response_model=ModelMetadata)
async def model_version(serving: ServingDep, version: str) -> ModelMetadata:
    """The same of one version; 404 if it does not answer in this process."""
    found = await inference.servable_of(serving, version)
    return ModelMetadata.of(found, serving.swap.loaded.numbers)


@_models.get("/v2/models/{model}/ready", response_model=ModelReady)
async def model_ready(serving: ServingDep) -> ModelReady:
    """Some version answers; 503 until then."""
    await inference.servable_of(serving, None)
    return ModelReady()


@_models.get("/v2/models/{model}/versions/{version}/ready", response_model=ModelReady)
async def version_ready(serving: ServingDep, version: str) -> ModelReady:
    """This version answers; 404 if it does not."""
    await inference.servable_of(serving, version)
    return ModelReady()


_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
            },
        },
    },
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
# JSON, and JSON followed by binary data.
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_INFER: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "The tensors.",
            "content": {
                "application/json": {"schema": _ANSWER},
                "application/octet-stream": _BINARY,
            },
        }
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _REQUEST},
                "application/octet-stream": _BINARY,
            },
        }
    },
}


@_models.post("/v2/models/{model}/infer", **_INFER)
async def infer(request: Request, serving: ServingDep, deadline: DeadlineDep) -> Response:
    """Classify a batch. Nothing is recorded: what is to be corrected later goes to /v1/predict."""
    return await _infer(request, serving, deadline, None)


@_models.post("/v2/models/{model}/versions/{version}/infer", **_INFER)
async def infer_with_version(
    request: Request, serving: ServingDep, deadline: DeadlineDep, version: str
) -> Response:
    """Classify with this version, or answer 404 if another one answers in this process."""
    return await _infer(request, serving, deadline, version)


async def _infer(
    request: Request, serving: Serving, deadline: Deadline | None, version: str | None
) -> Response:
    headers = request.headers
    body = await request.body()
    encoding = headers.get("content-encoding", "")
    if encoding:
        body = await serving.run(
            infer_messages.decompress, body, encoding, serving.settings.max_body_bytes
        )
    asked = await serving.run(infer_messages.read, body, headers.get(HEADER_LENGTH))
    # Taken once: all of an answer is of one version.
    servable = await inference.servable_of(serving, version)
    work = inference.infer(serving, servable, asked, deadline)
    outputs = await unless_gone(request, serving, work)
    content, json_length = await serving.run(
        infer_messages.write, MODEL, servable.version, asked.id, outputs
    )
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(
        content,
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(json_length)},
    )


router.include_router(_models)
