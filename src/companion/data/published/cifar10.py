"""CIFAR-10 (Krizhevsky, 2009): 50,000 images to train on and 10,000 to test, 32 x 32, from data/cifar10."""

from __future__ import annotations

from pathlib import Path

import torch

from companion.core.errors import Refusal
from companion.data.labelled import Labelled, Split
from companion.data.normalisation import MEAN, STD


def cifar10(root: Path) -> Labelled:
    """CIFAR-10 from data/cifar10."""
    from torchvision.datasets import CIFAR10  # half of the time that importing this module would take

    try:
        parts = [CIFAR10(root / "data" / "cifar10", train=train, download=False) for train in (True, False)]
    except RuntimeError:
        raise Refusal(
            "CIFAR-10 is not in data/cifar10: run `make fetch DATA=cifar10`, with MIRROR=… if need be."
        ) from None
    train, test = (
        Split(torch.tensor(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)) for part in parts
    )
    # ImageNet's, for the published ResNet-20 was trained with them; CIFAR-10's own differ by a few percent.
    return Labelled(train, test, MEAN, STD)
