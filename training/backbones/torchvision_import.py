"""torchvision, imported so that it also works beside a torch its compiled operators do not fit.

Next to a CPU-only torch, the wheel of torchvision that a package index gives may not load its
compiled operators, and then `import torchvision` fails with `operator torchvision::nms does not
exist`. Declaring the two missing schemas first is enough for its models and transforms, which use
none of those operators. Everything here imports torchvision from this module and nowhere else.
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
            torch.ops.load_library(str(library))  # again by torchvision itself: then a no-op
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


_declared = _declare_missing_operators()  # the schemas live as long as this object does

import torchvision  # noqa: E402
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["torchvision", "transforms"]
