"""Networks for tests and measurements: torchvision's architectures, with random weights in a realistic regime."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from .awkward import photograph

# The smallest members of torchvision's convolutional families.
FAMILIES = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "convnext_tiny",
    "efficientnet_b0",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
)


def calibrated(name: str, seed: int = 0, size: int = 96) -> nn.Module:
    """A torchvision classifier with random weights, its BatchNorm statistics taken from photographs; in eval mode.

    Without calibration a random network's activations vanish or explode with depth, and a moved origin can hide.
    """
    torch.manual_seed(seed)
    model = torchvision.models.get_model(name, weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average over the batches seen
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    photos = torch.cat([photograph(size, size, which) for which in (0, 1)])
    photos = torch.cat((photos, photos.flip(3), photos.roll(size // 3, 2), photos * 0.5))
    with torch.no_grad():
        model.train()(photos)
    return model.eval()
