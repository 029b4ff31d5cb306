"""What a key costs a prediction: CPU time of a request that passes the gate over one that does not.

    python -m bench.access [--requests 2000] [--model starter]

Both kinds alternate in one process, in blocks, at the ASGI interface of the app: there is no
server and no client, so the cost is not hidden behind theirs. A request with a key has its headers
checked, its digest compared, its quotas counted, and the keys read again twice a second. One
without has a caller already, as one that has passed the gate before.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.models import DEFAULT
from bench.photo_mix import make_photos
from core.access import keys
from core.access.roles import Role
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import open_store
from service.api.access.caller import NOBODY
from service.api.app import create_app
from service.inference.serving_process import ServingProcess

_BLOCK = 20
_WITHOUT, _WITH_KEY, _WITH_QUOTAS = "without a gate", "with a key", "with a key and quotas"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000, help="of each kind")
    parser.add_argument("--model", default=DEFAULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), device="cpu", workers=1)
        store = open_store(settings)
        ensure_first_version(store, options.model)
        with store.db.write() as conn:
            now = time.time()
            _, plain = keys.add(conn, "plain", Role.PREDICT, now=now)
            quotas = {"request_quota": "1000000/day", "byte_quota": "1TB/day"}
            _, limited = keys.add(conn, "limited", Role.PREDICT, now=now, **quotas)
        store.db.close()
        serving = ServingProcess.start(settings)
        own = {_WITHOUT: "", _WITH_KEY: plain, _WITH_QUOTAS: limited}
        seconds = asyncio.run(_measure(serving, own, options.requests))
        serving.stop()
    base = statistics.median(seconds[_WITHOUT])
    for kind, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{kind}: {1e6 * median:.0f} µs of CPU time, {median / base:.4f} of one without")


async def _measure(
    serving: ServingProcess, own: dict[str, str], num_requests: int
) -> dict[str, list[float]]:
    """CPU seconds of a request, of each block."""
    app = create_app(serving.settings)
    app.state.serving = serving
    photos = [photo.content for photo in make_photos(1000)]
    seconds: dict[str, list[float]] = {kind: [] for kind in own}
    for block in range(num_requests // _BLOCK + 1):
        for kind, key in own.items():
            began = time.process_time()
            for i in range(_BLOCK):
                await _predict(app, photos[i % len(photos)], key)
            if block:  # the first warms up
                seconds[kind].append((time.process_time() - began) / _BLOCK)
    return seconds


async def _predict(app: Any, photo: bytes, key: str) -> None:
    headers = [
        (b"host", b"127.0.0.1:3000"),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
        (b"content-type", b"image/jpeg"),
        (b"content-length", str(len(photo)).encode()),
    ]
    state: dict[str, Any] = {}
    if key:
        headers.append((b"authorization", f"Bearer {key}".encode()))
    else:
        state["caller"] = NOBODY
    scope = {
        **{"type": "http", "method": "POST", "path": "/v1/predict", "query_string": b""},
        **{"headers": headers, "client": ("127.0.0.1", 50_000), "state": state},
        **{"http_version": "1.1", "scheme": "http", "root_path": ""},
    }
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": photo, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"the prediction was answered with {statuses}")


if __name__ == "__main__":
    main()
