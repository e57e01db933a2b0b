"""Labelled pictures small enough to be held whole: CIFAR-10 (32 x 32), and scikit-learn's digits (8 x 8) to try things on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.measures.accuracy import Prepare, accuracy, evaluate
from companion.models.methods import METHODS
from mass.shift import shift

if TYPE_CHECKING:
    from companion.training.recipe import Recipe


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


def epoch_batches(train: Split, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's augmented batches of bytes, on the pictures' device: order and augmentation follow (seed, epoch)."""
    generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
    device, count = train.labels.device, len(train)
    order = torch.randperm(count, generator=generator).to(device)
    flips = (torch.rand(count, generator=generator) < 0.5).to(device)
    by = torch.randint(train.images.shape[3], (count, 2), generator=generator).to(device)
    for rows in order[: count // recipe.batch * recipe.batch].split(recipe.batch):
        images = train.images[rows]
        if recipe.flip:  # each picture for itself: torchvision's transforms flip a batch as one
            images = torch.where(flips[rows, None, None, None], images.flip(3), images)
        if METHODS[recipe.method].shifts:
            images = shift(images.float(), by[rows])
        yield images, train.labels[rows]


@dataclass(frozen=True)
class Labelled:
    """A data set: two splits, and the mean and standard deviation by which pictures in [0, 1] are normalised."""

    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.train)

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    def to(self, device: str | torch.device) -> Labelled:
        return Labelled(self.train.to(device), self.test.to(device), self.mean, self.std)

    def parts(self, recipe: Recipe, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in epoch_batches(self.train, recipe, epoch):
            for part in range(recipe.accumulate):
                mine = slice(rank * recipe.accumulate + part, None, world * recipe.accumulate)
                yield images[mine], labels[mine]

    def score(
        self, model: nn.Module, recipe: Recipe, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        return {"test_top1": accuracy(model, self.test.batches(1000), prepare, autocast)}

    def measure(self, model: nn.Module, recipe: Recipe, device: str) -> dict[str, float | str]:
        numbers = evaluate(
            model, self.test.batches(500), prepare=self.normalize, device=device, description=recipe.name
        )
        return {"protocol": "mass", **numbers}

    def normalize(self, images: Tensor) -> Tensor:
        """Bytes -> float32 of zero mean and unit variance, in the memory format of `images`."""
        mean, std = (torch.tensor(v)[:, None, None] * 255 for v in (self.mean, self.std))
        # Without waiting: a GPU that the host waits for at every batch idles between two.
        return (images - mean.to(images.device, non_blocking=True)) / std.to(images.device, non_blocking=True)


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
    return Labelled(train, test, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def digits(root: Path) -> Labelled:
    """scikit-learn's digits: 1,297 to train on, 500 to test."""
    from sklearn.datasets import load_digits  # not on a bare GPU machine

    found = load_digits()
    images = torch.tensor(found.images * 255 / 16, dtype=torch.uint8)[:, None]  # (1797, 1, 8, 8)
    labels = torch.tensor(found.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = (Split(images[rows], labels[rows]) for rows in (order[:1297], order[1297:]))
    return Labelled(train, test, (0.3053,), (0.3758,))
