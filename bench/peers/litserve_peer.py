"""LitServe with as many inference workers, and HTTP servers, as asked; a file in a form, as in its
documentation."""

# LitServe looks at the annotation of `request`, and must find a class, not its name.
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
        # What comes is the form of the request.
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
