"""The images at hand, in memory, as bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from companion.data.images import labelled_images


def in_bytes(limit: int, size: int) -> tuple[Tensor, Tensor, str]:
    """Images (N, 3, size, size) in bytes, labels (N,), and what their set is called; the two photographs where it is not there."""
    data, dataset = labelled_images(limit, size)
    count = len(data)  # type: ignore[arg-type]
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    for k in range(count):
        image, labels[k] = data[k]
        images[k] = (image * 255).round().to(torch.uint8)
    return images, labels, dataset
