"""A head by the names of classes alone, before anything is labelled (zero-shot classification).

The score of a class is the cosine of the embeddings of the input and of the class's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import class_names
from core.errors import InputError, InvalidRequest
from core.models.backbones import Backbone
from core.models.head_onnx import LinearHead
from core.models.pretrained import choice as pretrained
from core.models.pretrained.choice import Pretrained

MIN_CLASSES = 2
_SEPARATORS = re.compile(r"[\s_-]+")


def read_names(model: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The names in their display form, in order, and each as an input of the backbone. `model` is
    the name of a pretrained one.

    Raises InvalidLabel, SpecMismatch, or InvalidRequest if these cannot be the classes.
    """
    if model not in pretrained.ZERO_SHOT:
        raise InvalidRequest(
            f"{model} knows classes by their examples alone: leave the {len(names)} names out, and "
            "label"
        )
    found: dict[str, str] = {}
    for name in names:
        normal = class_names.normalise(name)
        if not class_names.is_class(normal):
            raise InvalidRequest(f"{normal!r} is no class, but the label of what is in none")
        first = found.setdefault(class_names.identity(normal), normal)
        if first != normal:
            raise InvalidRequest(f"{first!r} and {normal!r} are spellings of one class: name one")
    if len(found) < MIN_CLASSES:
        raise InvalidRequest(
            f"{len(found)} class is named, and at least {MIN_CLASSES} are needed: name more, such "
            "as billing,bug,praise, or none and label a few texts"
        )
    reader = pretrained.ZERO_SHOT[model]()
    inputs = {}
    for name in found.values():
        # billing_question and billing-question read as two words.
        text = _SEPARATORS.sub(" ", name).strip() or name
        try:
            inputs[name] = reader.decode(text.encode()).array
        except InputError as error:
            raise InvalidRequest(f"the class {name!r} cannot be read: {error}") from error
    return inputs


def zero_shot_head(model: Pretrained, backbone: Backbone, names: Sequence[str]) -> LinearHead:
    """logits = scale * cosine. Raises as `read_names` does."""
    classes = read_names(model.name, names)
    rows = [backbone.embed(array[np.newaxis])[0] for array in classes.values()]
    weights_DK = np.ascontiguousarray(np.stack(rows, axis=1) * np.float32(model.zero_shot_scale))
    return LinearHead(tuple(classes), weights_DK, np.zeros(len(rows), np.float32))
