"""`evergreen serve`: prepare the home, print examples, and exec `bentoml serve`."""

from __future__ import annotations

import errno
import importlib.util
import math
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from cli import home, serve_access
from cli.console import count, err
from cli.serve_access import Access
from core.errors import InvalidRequest, NotReady
from core.exchange.sources import material_of
from core.inputs.kind import InputKind
from core.registry import promotions, versions
from core.retention.policy import load_capture_policy
from core.settings import PREFIX, Settings, load_settings

# A proxy keeps idle connections for 60 s, as nginx and load balancers of clouds do. If the server
# closed one first, the proxy's next request on it would fail.
KEEP_ALIVE_S = 75


def serve() -> None:
    """Serve predictions over HTTP, and train in the background.

    EVERGREEN_HOST and EVERGREEN_PORT set the address, EVERGREEN_WORKERS the number of processes.
    On an address of a network, requests need a key: the first start makes one, and prints it.
    """
    settings = load_settings()
    if settings.recipe is not None and not settings.recipe.is_file():
        raise InvalidRequest(f"EVERGREEN_RECIPE names {settings.recipe}, which is not a file")
    load_capture_policy(settings.recipe)  # here, as a worker that fails to start is started again
    address = free_address(settings.host, settings.port)
    with home.opened(settings) as store:
        with store.db.read() as conn:
            live = promotions.newest_activation(conn)
            if live is None:
                raise NotReady("there is no champion: promote a version with `evergreen promote N`")
            num_classes = len(versions.get(conn, live.version).classes)
        access = serve_access.prepare(settings, address, store.db)
    err.print(welcome(settings, live.version, num_classes, access, store.kind), soft_wrap=True)
    command = bentoml_command(address, settings)
    # BentoML replaces this process, so signals reach it directly.
    os.execvpe(command[0], command, environment(settings, os.environ))


def free_address(host: str, port: int) -> str:
    """Return the IP address to bind, if it is free. Raises InvalidRequest, NotReady."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidRequest(
            f"EVERGREEN_HOST={host!r} is no address of this machine ({error.strerror}); "
            "127.0.0.1 is for this machine only, 0.0.0.0 for every network"
        ) from error
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise NotReady(
                    f"port {port} is taken, maybe by another running server; stop that one, "
                    f"or serve elsewhere: EVERGREEN_PORT={port + 1} evergreen serve"
                ) from error
            raise InvalidRequest(
                f"EVERGREEN_HOST={host} with EVERGREEN_PORT={port} cannot be served on "
                f"({error.strerror}); 127.0.0.1 and a port from 1024 to 65535 can"
            ) from error
    return str(where[0])


def bentoml_command(address: str, settings: Settings) -> list[str]:
    spec = importlib.util.find_spec("service")
    assert spec is not None
    assert spec.submodule_search_locations
    # BentoML starts its processes in this folder, which holds the package `service`.
    folder = Path(next(iter(spec.submodule_search_locations))).absolute().parent
    # -P: modules in the current folder must not shadow ours.
    return [
        *(sys.executable, "-P", "-m", "bentoml", "serve", "service.bento:Evergreen"),
        *("--working-dir", str(folder)),
        *("--host", address),
        *("--port", str(settings.port)),
        *("--timeout-keep-alive", str(KEEP_ALIVE_S)),
        *("--timeout-graceful-shutdown", str(math.ceil(settings.stop_within_s))),
    ]


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the server, with paths made absolute."""
    variables = dict(environ)
    paths = {
        "HOME": settings.home.absolute(),
        "DATABASE_URL": settings.database_url and _absolute_url(settings.database_url),
        "BLOB_URL": settings.blob_url and _absolute_path(settings.blob_url),
        "RECIPE": settings.recipe and settings.recipe.absolute(),
        "ADMIN_KEY_FILE": settings.admin_key_file and settings.admin_key_file.absolute(),
        "MANIFEST_KEY_FILE": settings.manifest_key_file and settings.manifest_key_file.absolute(),
    }
    variables |= {PREFIX + name: str(path) for name, path in paths.items() if path}
    variables.setdefault("BENTOML_HOME", str(settings.home.absolute() / "bentoml"))
    variables.setdefault("BENTOML_DO_NOT_TRACK", "true")
    # With it BentoML would not restart a worker that died.
    variables.pop("BENTOML_CONTAINERIZED", None)
    return variables


def welcome(
    settings: Settings, version: int, num_classes: int, access: Access, kind: InputKind
) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{settings.port}"
    example = kind.wire.form_example
    label, _, _ = material_of(kind).example.partition("/")
    command = "evergreen" if shutil.which("evergreen") else sys.argv[0]
    return f"""\
Evergreen starts on {url} with version {version} ({count(num_classes, "class")}).
It stores everything in {settings.home.absolute()}
{access.text}

Try, from another terminal:
  curl{access.curl} -F {example} {url}/v1/predict
  curl{access.curl} -F {example} -F label={label} {url}/v1/feedback
  {command} status
or open {url} in a browser. Ctrl-C stops it.
"""


def _absolute_url(url: str) -> str:
    """Make the path of an SQLite URL absolute: `sqlite:///a.db` becomes `sqlite:////folder/a.db`."""
    scheme, _, path = url.partition(":///")
    if not url.startswith("sqlite") or path.startswith("/"):
        return url
    return f"{scheme}:///{quote(str(Path.cwd()))}/{path}"


def _absolute_path(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())
