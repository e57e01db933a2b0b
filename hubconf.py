"""Entry points of `torch.hub`: networks that are exactly equivariant to circular shifts, with published weights.

    model = torch.hub.load("OWNER/REPOSITORY", "mass_mobilenet_v2", weights="IMAGENET1K_V1")
    model = torch.hub.load("OWNER/REPOSITORY", "mass_torchvision", "convnext_tiny", weights="DEFAULT")
    model = torch.hub.load("OWNER/REPOSITORY", "mass_timm", "efficientnet_b0", pretrained=True)

The library says the last of these in one line, for whoever has it installed:

    model = mass.convert(timm.create_model("efficientnet_b0", pretrained=True).eval(), torch.rand(1, 3, 224, 224))
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.append(str(Path(__file__).parent / "src"))  # behind an installed mass, which is preferred

import mass

dependencies = ["torch", "torchvision"]


def mass_torchvision(name: str, weights: str | None = None, size: int = 224, **options: Any) -> nn.Module:
    """A network of torchvision, converted, in eval mode.

    Args:
        name: as in `torchvision.models.list_models()`.
        weights: as in `torchvision.models.get_model`, e.g. "DEFAULT"; None for random ones.
        size: the side of the images that it is converted with; others that its total stride divides work as well.
        options: of `mass.convert`.
    """
    import torchvision

    return _converted(torchvision.models.get_model(name, weights=weights), size, **options)


def mass_mobilenet_v2(weights: str | None = "IMAGENET1K_V1", size: int = 224, **options: Any) -> nn.Module:
    """MobileNetV2 with torchvision's weights, converted: `mass_torchvision("mobilenet_v2", …)`."""
    return mass_torchvision("mobilenet_v2", weights, size, **options)


def mass_timm(name: str, pretrained: bool = False, size: int = 224, **options: Any) -> nn.Module:
    """A network of timm, converted, in eval mode; needs timm.

    Args:
        name, pretrained: as in `timm.create_model`.
        size, options: as of `mass_torchvision`.
    """
    import timm

    return _converted(timm.create_model(name, pretrained=pretrained), size, **options)


def _converted(model: nn.Module, size: int, **options: Any) -> nn.Module:
    example = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    return mass.convert(model.eval(), example, **options)
