"""Images to zero mean and unit variance per channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what ImageNet networks are trained on


def normalize(images: Tensor) -> Tensor:
    """Colours in [0, 1] to what ImageNet networks expect. Shape: (..., 3, H, W) -> the same."""
    return v2.functional.normalize(images, list(MEAN), list(STD))


def normalize_bytes(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Bytes -> float32 of zero mean and unit variance per channel, in the memory format of `images`."""
    means, deviations = (torch.tensor(v)[:, None, None] * 255 for v in (mean, std))
    # Without waiting: a GPU that the host waits for at every batch idles between two.
    return (images - means.to(images.device, non_blocking=True)) / deviations.to(images.device, non_blocking=True)
