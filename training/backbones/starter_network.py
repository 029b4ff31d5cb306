"""The architecture of the bundled starter: MobileNetV2, narrower inside.

MobileNetV2's inverted residual blocks widen their input sixfold, and the starter's fourfold. The
activations between blocks have the same channels. So the starter can be pruned from a MobileNetV2
and learn from it block by block (`training/distil`). Trains nothing, reads no weights.
"""

from __future__ import annotations

from torch import nn

from training.backbones.torchvision_import import torchvision

EXPANSION = 4
#: Channels of the last convolution. MobileNetV2 has 1,280.
EMBEDDING_SIZE = 960
# Channels out, blocks, stride of the first, as in Sandler et al. 2018, table 2.
_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def starter_features() -> nn.Sequential:
    """Build 19 blocks with random weights. The last one gives [B, 960, H / 32, W / 32]."""
    stages = [[1, 16, 1, 1], *([EXPANSION, c, n, s] for c, n, s in _STAGES)]
    features = torchvision.models.MobileNetV2(inverted_residual_setting=stages).features
    features[-1] = torchvision.ops.misc.Conv2dNormActivation(
        features[-1][0].in_channels,
        EMBEDDING_SIZE,
        kernel_size=1,
        activation_layer=nn.ReLU6,
    )
    return features
