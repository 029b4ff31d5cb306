"""Imports torchvision, also if its compiled operators do not fit the installed torch.

With a CPU-only torch, torchvision's wheel may not load its compiled operators. Then `import
torchvision` fails with `operator torchvision::nms does not exist`. Its models and transforms use
none of these operators, so declaring the two missing schemas first is enough. All code imports
torchvision from this module.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_operators_load() -> bool:
    spec = find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for library in [file for folder in folders or () for file in Path(folder).glob("_C.*")]:
        try:
            torch.ops.load_library(str(library))  # a no-op when torchvision repeats it
        except OSError:
            continue
        return True
    return False


def _declare_missing_operators() -> torch.library.Library | None:
    if _compiled_operators_load():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


_declared = _declare_missing_operators()  # this object keeps the schemas alive

import torchvision  # noqa: E402
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["torchvision", "transforms"]
