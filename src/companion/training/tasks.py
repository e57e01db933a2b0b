"""The data sets that networks are trained on, by name, and what the training loop asks of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor, nn

from companion.measures.accuracy import Prepare
from companion.training import classification as labelled
from companion.training import segmentation as segmented

if TYPE_CHECKING:
    from companion.training.recipe import Recipe


class DataSet(Protocol):
    """Pictures with labels, one each or one per pixel; `companion.labelled` and `companion.segmented` are two kinds."""

    @property
    def count(self) -> int:
        """How many pictures there are to train on."""

    @property
    def channels(self) -> int:
        """Of a picture."""

    def to(self, device: str | torch.device) -> Self:
        """The same, giving its batches on a device."""

    def normalize(self, images: Tensor) -> Tensor:
        """Bytes -> float32 of zero mean and unit variance, in the memory format of `images`."""

    def parts(self, recipe: Recipe, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """One process's share of an epoch: augmented bytes and labels, in `recipe.accumulate` parts a batch.

        What comes is a function of the recipe, the epoch and the share, and of nothing else.
        """

    def score(
        self, model: nn.Module, recipe: Recipe, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        """What the learning curve shows of an epoch, by name, in percent, over the test pictures."""

    def measure(self, model: nn.Module, recipe: Recipe, device: str) -> dict[str, Any]:
        """All that a record says of a trained network, over the test pictures."""


DATASETS: dict[str, Callable[[Path], DataSet]] = {
    "cifar10": labelled.cifar10,
    "digits": labelled.digits,
    "voc2012": segmented.voc2012,
    "voc-subset": segmented.voc_subset,
    "scenes": segmented.scenes,
}
