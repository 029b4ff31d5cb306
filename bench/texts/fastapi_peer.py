"""FastAPI on `uvicorn[standard]`, with the ONNX file and the tokenizer of Evergreen.

Written as in the documentation: the tokenizer and onnxruntime run in the thread pool, on one thread
a text, so that they do not block the event loop. It stores nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from tokenizers import Tokenizer

from bench.peers.classifier import MODEL, PORT, WORKERS

PATH = "/predict"
_MAX_TOKENS = 256
_TOP = 5


class Classifier:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        model = Path(os.environ[MODEL]).read_bytes()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        about = self._session.get_modelmeta().custom_metadata_map
        self._classes = about["classes"].split("\n")
        self._tokenizer = Tokenizer.from_str(about["tokenizer"])
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.no_padding()

    def classify(self, text: str) -> dict[str, Any]:
        ids_1T = np.array([self._tokenizer.encode(text).ids], np.int64)
        feed = {"input_ids": ids_1T, "attention_mask": np.ones_like(ids_1T)}
        (probabilities_1K,) = self._session.run(["probabilities"], feed)
        best = np.argsort(-probabilities_1K[0])[:_TOP]
        top = [
            {"label": self._classes[k], "confidence": float(probabilities_1K[0, k])} for k in best
        ]
        return {"worker": os.getpid(), "top": top}


def create_app() -> FastAPI:
    app = FastAPI()
    classifier = Classifier()

    @app.post(PATH)
    async def predict(request: Request) -> dict[str, Any]:
        text = (await request.body()).decode()
        return await run_in_threadpool(classifier.classify, text)

    return app


if __name__ == "__main__":
    uvicorn.run(
        "bench.texts.fastapi_peer:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(os.environ[PORT]),
        workers=int(os.environ[WORKERS]),
        access_log=False,
        log_level="warning",
    )
