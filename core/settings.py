"""Settings: where things are. How to learn is a recipe (`training/recipe.py`), never a setting.

Read once, at an entry point, and passed in. Nothing reads the environment on import.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import InvalidRequest
from core.system.host import available_cores

PREFIX = "EVERGREEN_"


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


VersionNumber = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """Every setting is an environment variable, `EVERGREEN_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(
        Path("evergreen-data"), description="folder of the embedded database, blobs and caches"
    )
    database_url: str = Field(
        "", description="SQLAlchemy URL; empty means SQLite in the home folder"
    )
    blob_url: str = Field(
        "", description="fsspec URL of the blob store; empty means a folder in the home folder"
    )
    host: str = Field("127.0.0.1", description="address to serve on")
    port: int = Field(3000, ge=1, le=65535, description="port to serve on")
    workers: int = Field(
        0, ge=0, description="serving processes; 0 means one per GPU, or per CPU core without"
    )
    threads: int = Field(1, ge=1, description="onnxruntime threads in each serving process")
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where models run; auto takes CUDA when a GPU is there"
    )
    max_body_mb: float = Field(25.0, gt=0, description="largest request body, in MB (10^6 bytes)")
    max_pixels: int = Field(50_000_000, ge=1, description="largest image, in pixels")
    batching: Literal["auto", "on", "off"] = Field(
        "auto", description="run the model on all that waits for it; auto does so on a GPU"
    )
    max_batch: int = Field(
        32, ge=1, le=1024, description="most images in one run of the model, where they are batched"
    )
    max_in_flight: int = Field(
        64,
        ge=1,
        description="most images in work at once in each serving process; more are refused (503)",
    )
    max_wait_s: float = Field(
        2.0,
        gt=0,
        description="longest expected wait for an answer, in seconds; beyond it requests are "
        "refused (503)",
    )
    recipe: Path | None = Field(
        None, description="TOML file that says how to learn; empty means the built-in recipe"
    )
    trainer: bool = Field(
        True, description="train beside serving; turn off where `evergreen worker` runs elsewhere"
    )
    self_healing: bool = Field(
        True, description="roll back when labels show that the version before was better"
    )
    shadow: Annotated[tuple[VersionNumber, ...], BeforeValidator(_split)] = Field(
        (), description="versions that answer silently beside the champion, such as 3,5"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log line to write"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` reads the environment, and nothing else does."""
        return (init_settings,)

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'evergreen.db'}"

    @property
    def resolved_blob_url(self) -> str:
        return self.blob_url or str(self.home.absolute() / "blobs")

    @property
    def shared(self) -> Path:
        """What the processes of a machine share beside the store; may be deleted at any time."""
        return self.home / "shared"

    @property
    def resolved_workers(self) -> int:
        return self.workers or available_cores()

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1_000_000)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. All problems are reported together, a misspelt name among them.

    Raises InvalidRequest.
    """
    env = os.environ if environ is None else environ
    names = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    problems = []
    for key in sorted(k for k in env if k.startswith(PREFIX) and k not in names):
        close = difflib.get_close_matches(key, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        problems.append(f"{key} is not a setting{hint}")
    given = {k[len(PREFIX) :].lower(): env[k] for k in names if env.get(k, "") != ""}
    settings = None
    try:
        settings = Settings.model_validate(given, by_name=True)
    except ValidationError as error:
        for problem in error.errors():
            name = f"{PREFIX}{str(problem['loc'][0]).upper()}"
            problems.append(f"{name}={problem['input']!r}: {problem['msg']}")
    if problems or settings is None:
        raise InvalidRequest("; ".join(problems))
    return settings
