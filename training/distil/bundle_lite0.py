"""Write the graph of EfficientNet-Lite0 without weights: python -m training.distil.bundle_lite0

The graph is in the repository, so this is needed only when the export changes. Writes
`backbone.graph.onnx` and the sha256 of the backbone in `lite0.json`, in `core/models/lite0_files/`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from core.models.pretrained import lite0
from training.backbones.backbone import build
from training.backbones.export import export_graph


def main() -> None:
    folder = Path(str(lite0.FILES))
    module = build(lite0.NAME, pretrained=False)
    (folder / "backbone.graph.onnx").write_bytes(export_graph(module, module.pixels.size_px))
    pinned = lite0.card() | {"backbone_sha256": hashlib.sha256(lite0.backbone_onnx()).hexdigest()}
    text = json.dumps(pinned, indent=1, ensure_ascii=False) + "\n"
    (folder / "lite0.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
