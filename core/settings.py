"""Settings: where things are. How to learn is a recipe (`training/recipe.py`), never a setting.

Read once, at an entry point, and passed in. Nothing reads the environment on import.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, ValidationError

from core.errors import InvalidRequest
from core.setting_groups.access import ExpandedPath, ExpandedUrl
from core.setting_groups.inputs import InputSettings
from core.system.host import available_cores

PREFIX = "EVERGREEN_"
# Old names work for one release.
RENAMED = {
    "EVERGREEN_SHADOW": "EVERGREEN_SHADOW_VERSIONS",
    "EVERGREEN_TRAINER": "EVERGREEN_RUN_TRAINER",
    "EVERGREEN_PROVIDER": "EVERGREEN_DEVICE",
    "EVERGREEN_THREADS": "EVERGREEN_ONNX_THREADS",
}
# The key that clients send. The server reads it nowhere, but a shell may have it for both.
OF_CLIENTS = frozenset({"EVERGREEN_API_KEY"})

log = logging.getLogger(__name__)


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


VersionNumber = Annotated[int, Field(ge=1)]


class Settings(InputSettings):
    """Every setting is an environment variable, `EVERGREEN_` and its name in capitals."""

    home: ExpandedPath = Field(
        Path("evergreen-data"), description="folder of the embedded database, blobs and caches"
    )
    database_url: ExpandedUrl = Field(
        "", description="SQLAlchemy URL; empty means SQLite in the home folder"
    )
    blob_url: ExpandedUrl = Field(
        "", description="fsspec URL of the blob store; empty means a folder in the home folder"
    )
    store_connect_s: float = Field(
        5.0,
        gt=0,
        description="longest wait for a connection to the database or object store, in seconds",
    )
    store_timeout_s: float = Field(
        15.0,
        gt=0,
        description="longest wait for the answer to a statement, for SQLite's lock, or for a blob "
        "of an object store, in seconds",
    )
    blob_cache_mb: float = Field(
        1000.0,
        ge=0,
        description="most that is kept on local disk of what versions have in an object store, "
        "in MB (10^6 bytes)",
    )
    thumbnail_cache_mb: float = Field(
        200.0,
        ge=0,
        description="most that is kept on local disk of thumbnails, in MB (10^6 bytes)",
    )
    host: str = Field("127.0.0.1", description="address to serve on")
    port: int = Field(3000, ge=1, le=65535, description="port to serve on")
    workers: int = Field(
        0,
        ge=0,
        description="serving processes; 0 means one per GPU, or one per CPU core if there is none",
    )
    onnx_threads: int = Field(1, ge=1, description="onnxruntime threads in each serving process")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where models run: auto, cpu or cuda; auto uses a GPU if there is one"
    )
    min_free_disk_mb: float = Field(
        500.0, ge=0, description="free disk, in MB, below which inputs of predictions are not kept"
    )
    batching: Literal["auto", "on", "off"] = Field(
        "auto", description="predict queued inputs in batches: auto, on or off; auto: on a GPU"
    )
    max_batch: int = Field(32, ge=1, le=1024, description="most inputs in a batch")
    max_in_flight: int = Field(
        64,
        ge=1,
        description="most inputs in flight in each serving process; beyond it requests are "
        "rejected (503)",
    )
    max_wait_s: float = Field(
        2.0,
        gt=0,
        description="longest expected wait for a response, in seconds; beyond it requests are "
        "rejected (503)",
    )
    spool_mb: float = Field(
        1000.0,
        ge=0,
        description="most that is kept on local disk of predictions that the store could not take, "
        "in MB (10^6 bytes)",
    )
    spool_hours: float = Field(
        72.0, gt=0, description="longest that such a prediction is kept, in hours"
    )
    load_within_s: float = Field(
        120.0,
        ge=1,
        description="seconds in which every worker must load a new version, or it is not promoted",
    )
    drain_s: float = Field(
        1.0,
        ge=0,
        description="after SIGTERM, seconds in which it still answers while /readyz says 503, so "
        "that a load balancer stops sending",
    )
    stop_within_s: float = Field(
        20.0, ge=1, description="then, seconds to finish the requests in flight"
    )
    recipe: ExpandedPath | None = Field(
        None, description="TOML file that says how to learn; empty means the built-in recipe"
    )
    manifest_key_file: ExpandedPath | None = Field(
        None,
        description="file with the key that signs versions; empty means that they are not signed",
    )
    run_trainer: bool = Field(
        True, description="run a trainer with the server; false if `evergreen worker` trains"
    )
    self_healing: bool = Field(
        True, description="roll back when labels show that the previous version was better"
    )
    shadow_versions: Annotated[tuple[VersionNumber, ...], BeforeValidator(_split)] = Field(
        (), description="versions whose predictions are only recorded, to compare them, such as 3,5"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level of log lines to write"
    )

    @property
    def resolved_database_url(self) -> str:
        # In a URL, % and ? have a meaning.
        return self.database_url or f"sqlite:///{quote(str(self.home.absolute()))}/evergreen.db"

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
    def blob_cache_bytes(self) -> int:
        return int(self.blob_cache_mb * 1_000_000)

    @property
    def thumbnail_cache_bytes(self) -> int:
        return int(self.thumbnail_cache_mb * 1_000_000)

    @property
    def min_free_disk_bytes(self) -> int:
        return int(self.min_free_disk_mb * 1_000_000)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. All problems are reported together, a misspelled name among them.

    Raises InvalidRequest.
    """
    env = os.environ if environ is None else environ
    fields = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    known = fields.keys() | RENAMED.keys() | OF_CLIENTS
    unknown = [key for key in env if key.startswith(PREFIX) and key not in known]
    problems = [f"{key} is not a setting{_hint(key, fields)}" for key in sorted(unknown)]
    problems += [
        f"{old} and {new} are one setting; set only {new}"
        for old, new in RENAMED.items()
        if env.get(old) and env.get(new)
    ]
    # Not quoted: a URL may hold a password.
    problems += [f"{key}: {why}" for key in fields if (why := _unclean(env.get(key)))]
    fields |= {old: fields[new] for old, new in RENAMED.items()}
    variables = {field: key for key, field in fields.items() if env.get(key)}
    settings = None
    try:
        settings = Settings.model_validate({field: env[key] for field, key in variables.items()})
    except ValidationError as error:
        problems += [
            f"{variables[str(problem['loc'][0])]}={problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        ]
    if problems or settings is None:
        raise InvalidRequest("; ".join(problems))
    return settings


def adopt_new_names(environ: MutableMapping[str, str]) -> None:
    """Rename the settings that have an old name, and log it. Child processes inherit the new names,
    so each old name is logged once."""
    for old, new in RENAMED.items():
        value = environ.pop(old, "")
        if value:
            environ[new] = value
            log.warning("setting.renamed", extra={"old": old, "new": new})


def _unclean(value: str | None) -> str:
    """What a file of settings leaves in a value, and a folder of that name would silently take."""
    if value and not value.isprintable():
        return "it has an invisible character, such as the carriage return of a Windows file"
    if value and value[0] in "'\"":
        return "it has quotes around it, which belong to a shell; leave them out"
    return ""


def _hint(key: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
