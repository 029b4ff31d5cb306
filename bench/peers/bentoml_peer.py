"""A BentoML service with default settings, except for the number of workers."""

from __future__ import annotations

import os
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

from bench.peers.classifier import WORKERS, Classifier

PATH = "/predict"


@bentoml.service(workers=int(os.environ[WORKERS]))
class Peer:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api
    def predict(self, image: Annotated[bytes, ContentType("image/*")], /) -> dict[str, Any]:
        return self.classifier.classify(image)
