"""FastAPI on `uvicorn[standard]`, which brings uvloop and httptools.

Decoding and onnxruntime run in the thread pool, so that they do not block the event loop.
"""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from bench.peers.classifier import PORT, WORKERS, Classifier

PATH = "/predict"


def create_app() -> FastAPI:
    app = FastAPI()
    classifier = Classifier()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post(PATH)
    async def predict(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(classifier.classify, await request.body())

    return app


if __name__ == "__main__":
    uvicorn.run(
        "bench.peers.fastapi_peer:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(os.environ[PORT]),
        workers=int(os.environ[WORKERS]),
        access_log=False,
        log_level="warning",
    )
