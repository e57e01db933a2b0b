"""Classification: one label an image; cross-entropy, top-1 accuracy, and consistency under circular shifts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion.data.labelled import Labelled, Split
from companion.measures.accuracy import Prepare, accuracy, top1_and_consistency
from companion.models.methods import METHODS
from companion.training.recipe import Recipe
from companion.training.tasks.task import Loss, Network
from mass.functional.shift import shift


def epoch_batches(train: Split, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's augmented batches of bytes, on the images' device: order and augmentation follow (seed, epoch)."""
    generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
    device, count = train.labels.device, len(train)
    order = torch.randperm(count, generator=generator).to(device)
    flips = (torch.rand(count, generator=generator) < 0.5).to(device)
    by = torch.randint(train.images.shape[3], (count, 2), generator=generator).to(device)
    for rows in order[: count // recipe.batch * recipe.batch].split(recipe.batch):
        images = train.images[rows]
        if recipe.flip:  # each image for itself: torchvision's transforms flip a batch as one
            images = torch.where(flips[rows, None, None, None], images.flip(3), images)
        if METHODS[recipe.method].shifts:
            images = shift(images.float(), by[rows])
        yield images, train.labels[rows]


def parts_of(train: Split, recipe: Recipe, epoch: int, rank: int, world: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What one process of an epoch's batches sees, part by part."""
    share = world * recipe.accumulate
    for images, labels in epoch_batches(train, recipe, epoch):
        for part in range(recipe.accumulate):
            mine = slice(rank * recipe.accumulate + part, None, share)
            yield images[mine], labels[mine]


@dataclass(frozen=True)
class Classification:
    """The task of labelled images."""

    reads: ClassVar[frozenset[str]] = frozenset()

    data: Labelled
    recipe: Recipe

    @property
    def asks(self) -> str:
        return f"{self.data.classes} logits an image, or more"

    def fits(self, model: nn.Module, outputs: Any) -> bool:
        return isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] >= self.data.classes

    def parts(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        return parts_of(self.data.train, self.recipe, epoch, rank, world)

    def loss(self, network: Network, images: Tensor, labels: Tensor) -> Loss:
        logits = network(images)
        right, counted = (logits.argmax(1) == labels).sum(), torch.ones_like(labels).sum()
        return Loss(F.cross_entropy(logits, labels), right, counted)

    def score(
        self, model: nn.Module, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        return {"test_top1": accuracy(model, self.data.test.batches(1000), prepare, autocast)}

    def measure(self, model: nn.Module, device: str) -> dict[str, Any]:
        numbers = top1_and_consistency(
            model,
            self.data.test.batches(500),
            prepare=self.data.normalize,
            device=device,
            description=self.recipe.name,
        )
        return {"protocol": "mass", **numbers}
