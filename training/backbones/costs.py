"""What backbones cost and gain, as measured. Loads neither torch nor weights.

Sources: the tables of docs/how-to/backbones.md (`python -m bench.backbones`) and of
bench/results/learning.md (`python -m bench.learning`).
"""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    #: Size of backbone.onnx, in units of 10^6 bytes.
    file_mb: float
    #: Time of one photo on one CPU core, over that of the starter.
    times_starter: float
    #: Percent right of five kinds of flowers with 20 and with 100 labels a class. None: not known.
    right_20: float | None = None
    right_100: float | None = None


MEASURED = {
    "torchvision/mobilenet_v3_small": Cost(3.8, 0.9),
    "starter": Cost(6.2, 1.0, 73, 82),
    "timm/mobilenetv4_conv_small": Cost(10.1, 1.6),
    "torchvision/squeezenet1_1": Cost(2.9, 2.1, 75, 83),
    "torchvision/shufflenet_v2_x1_0": Cost(5.2, 2.3),
    "torchvision/mobilenet_v3_large": Cost(12.0, 2.6),
    "efficientnet-lite0": Cost(13.7, 2.8, 81, 87),
    "torchvision/mobilenet_v2": Cost(9.1, 3.0, 80, 88),
    "torchvision/efficientnet_b0": Cost(16.3, 5.5),
    "torchvision/regnet_y_400mf": Cost(15.8, 6.3),
    "torchvision/googlenet": Cost(22.5, 9.7),
    "timm/deit_tiny_patch16_224": Cost(22.2, 10.4),
    "torchvision/resnet18": Cost(44.8, 12.2),
    "torchvision/resnet50": Cost(94.3, 27.7),
    "torchvision/inception_v3": Cost(87.4, 35.6),
    "torchvision/convnext_tiny": Cost(111.4, 39.7),
    "torchvision/vgg11": Cost(36.9, 42.4),
    "torchvision/vit_b_32": Cost(350.2, 44.4),
    "timm/legacy_xception": Cost(83.5, 54.8),
    "torchvision/swin_t": Cost(111.1, 58.6),
    "timm/xception41": Cost(100.2, 58.7),
    "torchvision/vit_b_16": Cost(343.6, 131.8),
}
