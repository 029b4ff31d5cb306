"""LitServe with one inference worker and HTTP server per core, and images as files in a form."""

# LitServe reads the annotation of `request`, which must be a class and not its name.
import os
from typing import Any

import litserve as ls
from fastapi import Request

from bench.peers.classifier import PORT, WORKERS, Classifier

PATH = "/predict"
FORM_FIELD = "content"


class Peer(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = Classifier()

    def decode_request(self, request: Request) -> bytes:
        # `request` is the form of the request.
        content: bytes = request[FORM_FIELD].file.read()  # type: ignore[index]
        return content

    def predict(self, image: bytes) -> dict[str, Any]:
        return self.classifier.classify(image)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = ls.LitServer(Peer(), accelerator="cpu", workers_per_device=int(os.environ[WORKERS]))
    server.run(
        host="127.0.0.1",
        port=int(os.environ[PORT]),
        log_level="warning",
        generate_client_file=False,
    )
