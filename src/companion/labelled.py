"""Labelled pictures small enough to be held whole: CIFAR-10 (32 x 32), and scikit-learn's digits (8 x 8) to try things on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from companion.errors import Refusal


@dataclass(frozen=True)
class Split:
    """Pictures (N, C, H, W), uint8, and labels (N,), int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> Split:
        return Split(self.images.to(device), self.labels.to(device))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All pictures in order, `size` at a time."""
        return zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True)
class Labelled:
    """A data set: two splits, and the mean and standard deviation by which pictures in [0, 1] are normalised."""

    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize(self, images: Tensor) -> Tensor:
        """Bytes -> float32 of zero mean and unit variance, in the memory format of `images`."""
        mean, std = (torch.tensor(v)[:, None, None] * 255 for v in (self.mean, self.std))
        # Without waiting: a GPU that the host waits for at every batch idles between two.
        return (images - mean.to(images.device, non_blocking=True)) / std.to(images.device, non_blocking=True)


def _cifar10(root: Path) -> Labelled:
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
    return Labelled(train, test, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _digits(root: Path) -> Labelled:
    from sklearn.datasets import load_digits  # not on a bare GPU machine

    digits = load_digits()
    images = torch.tensor(digits.images * 255 / 16, dtype=torch.uint8)[:, None]  # (1797, 1, 8, 8)
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = (Split(images[rows], labels[rows]) for rows in (order[:1297], order[1297:]))
    return Labelled(train, test, (0.3053,), (0.3758,))


DATASETS: dict[str, Callable[[Path], Labelled]] = {"cifar10": _cifar10, "digits": _digits}
