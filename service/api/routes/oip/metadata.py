"""Metadata and health of the Open Inference Protocol v2. `infer` is in
`service/api/routes/oip/infer.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from core.errors import NotReady, UnknownModel
from core.models.servable import Servable
from core.release import release
from service.api.dependencies import ServingDep
from service.api.problems import DOCUMENTED, ProtocolError
from service.oip import infer, specs
from service.oip.specs import MAX_BATCH, MODEL, TensorSpec


async def require_model(model: Annotated[str, Path(examples=[MODEL])]) -> str:
    if model != MODEL:
        raise UnknownModel(f"there is no model {model[:40]!r}; the one here is {MODEL!r}")
    return model


router = APIRouter(
    tags=["inference protocol"],
    responses={status: {"model": ProtocolError} for status in DOCUMENTED},
)
# Full paths: with a prefix, the metrics would see only the part below it.
_models = APIRouter(dependencies=[Depends(require_model)])


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
    def from_spec(spec: TensorSpec) -> TensorMetadata:
        return TensorMetadata(name=spec.name, datatype=spec.datatype, shape=list(spec.shape))


class ModelParameters(BaseModel):
    classes: list[str] = Field(description="In the order of `probabilities`.")
    max_batch_size: int
    abstain_below: float | None = Field(
        description="Below this confidence, `/v1/predict` abstains; null: it never does."
    )


class ModelMetadata(BaseModel):
    name: str = MODEL
    versions: list[str] = Field(description="Those loaded in this process.")
    platform: str = "onnxruntime_onnx"
    inputs: list[TensorMetadata] = Field(description="A request sends one of them.")
    outputs: list[TensorMetadata]
    parameters: ModelParameters

    @staticmethod
    def from_servable(servable: Servable, loaded: Sequence[int]) -> ModelMetadata:
        manifest = servable.manifest
        return ModelMetadata(
            versions=[str(number) for number in loaded],
            inputs=[TensorMetadata.from_spec(spec) for spec in specs.input_specs(manifest)],
            outputs=[TensorMetadata.from_spec(spec) for spec in specs.output_specs(manifest)],
            parameters=ModelParameters(
                classes=list(manifest.classes),
                max_batch_size=MAX_BATCH,
                abstain_below=manifest.abstain_below,
            ),
        )


@router.get("/v2", response_model=ServerMetadata)
def server() -> ServerMetadata:
    """Return the server's name, release and extensions of the protocol."""
    return ServerMetadata(version=release(), extensions=["binary_tensor_data", "classification"])


@router.get("/v2/health/live", response_model=Live)
def live() -> Live:
    """Return 200 while the process runs."""
    return Live()


@router.get("/v2/health/ready", response_model=Ready)
async def ready(serving: ServingDep) -> Ready:
    """Return 200 while a version is loaded; 503 before that, and once the server ends."""
    serving.slot.current()
    if serving.drain.is_on:
        raise NotReady("the server ends; send requests to another one")
    return Ready()


@_models.get("/v2/models/{model}", response_model=ModelMetadata)
async def model(serving: ServingDep) -> ModelMetadata:
    """Describe the champion: its inputs, outputs and classes."""
    servable = await infer.find_servable(serving, None)
    return ModelMetadata.from_servable(servable, serving.swap.loaded.numbers)


@_models.get("/v2/models/{model}/versions/{version}", response_model=ModelMetadata)
async def model_version(serving: ServingDep, version: str) -> ModelMetadata:
    """Describe one version; 404 if this process has not loaded it."""
    servable = await infer.find_servable(serving, version)
    return ModelMetadata.from_servable(servable, serving.swap.loaded.numbers)


@_models.get("/v2/models/{model}/ready", response_model=ModelReady)
async def model_ready(serving: ServingDep) -> ModelReady:
    """Return 200 once a version is loaded; 503 until then."""
    await infer.find_servable(serving, None)
    return ModelReady()


@_models.get("/v2/models/{model}/versions/{version}/ready", response_model=ModelReady)
async def version_ready(serving: ServingDep, version: str) -> ModelReady:
    """Return 200 if this version is loaded; 404 if not."""
    await infer.find_servable(serving, version)
    return ModelReady()


router.include_router(_models)
