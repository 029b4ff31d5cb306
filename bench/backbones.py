"""The cost of serving each backbone: python -m bench.backbones [NAME ...]

Prints the table of docs/how-to/backbones.md. One photo at a time is timed on one thread, in the
onnxruntime session that serves. Each backbone takes turns with the starter, so that both are timed
under the same conditions. Random weights do not change the times. Needs the training extra, and
timm for names of its models.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from core.models.backbones import Backbone, Runtime
from core.models.pretrained import choice as pretrained
from core.models.pretrained import starter
from training.backbones.backbone import build
from training.backbones.export import export_backbone
from training.backbones.names import STARTER

NAMES = (
    "starter",
    "efficientnet-lite0",
    "torchvision/mobilenet_v3_small",
    "torchvision/shufflenet_v2_x1_0",
    "torchvision/squeezenet1_1",
    "torchvision/mobilenet_v3_large",
    "torchvision/mobilenet_v2",
    "torchvision/regnet_y_400mf",
    "torchvision/efficientnet_b0",
    "torchvision/googlenet",
    "torchvision/resnet18",
    "torchvision/resnet50",
    "torchvision/convnext_tiny",
    "torchvision/vit_b_32",
    "torchvision/swin_t",
    "torchvision/inception_v3",
    "torchvision/vgg11",
    "torchvision/vit_b_16",
    "timm/mobilenetv4_conv_small",
    "timm/deit_tiny_patch16_224",
    "timm/legacy_xception",
    "timm/xception41",
)
ROUNDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of serving backbones.")
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    runtime = Runtime(provider="cpu", threads=1)
    reference = Backbone(starter.backbone_onnx(), STARTER, runtime)
    print(
        "| name | pixels | embedding | blocks | file, MB | loads in, s | a photo, ms | x starter |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.names:
        module = build(name, pretrained=name in pretrained.NAMES)
        content = export_backbone(module)
        began = time.thread_time()
        backbone = Backbone(content, name, runtime)
        load_s = time.thread_time() - began
        took_ms, starter_ms = _take_turns(
            options.rounds,
            (backbone, module.pixels.size_px),
            (reference, starter.pixel_spec().size_px),
        )
        print(
            f"| `{name}` | {module.pixels.size_px} | {module.embedding_size} | "
            f"{len(module.blocks)} | {len(content) / 1e6:.1f} | {load_s:.1f} | {took_ms:.1f} | "
            f"{took_ms / starter_ms:.1f} |",
            flush=True,
        )


def _take_turns(rounds: int, *pairs: tuple[Backbone, int]) -> list[float]:
    """Return the minimum milliseconds of each. CPU time excludes other work on the machine."""
    least = [math.inf for _ in pairs]
    for _ in range(rounds):
        for index, (backbone, size_px) in enumerate(pairs):
            photo = np.full((1, size_px, size_px, 3), 127, np.uint8)
            for _ in range(3):  # the first one after the other backbone has cold caches
                began = time.thread_time()
                backbone.embed(photo)
                least[index] = min(least[index], 1000 * (time.thread_time() - began))
    return least


if __name__ == "__main__":
    main()
