"""What the training loop asks of a task: its batches, its loss, and what is measured of the network that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from companion.data.datasets import DataSet
from companion.measures.accuracy import Prepare
from companion.training.recipe import Recipe


@dataclass(frozen=True)
class Network:
    """Bytes -> outputs in float32: the network as it is trained, images prepared, in the recipe's precision."""

    run: Callable[..., Any]
    model: nn.Module  # whose layers a loss may read

    def __call__(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.run(images)
        return outputs.float()

    def losses(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Of a network that is told what is to be found, and computes its own losses."""
        losses: dict[str, Tensor] = self.run(images, targets)
        return losses


class Loss(NamedTuple):
    """Of one part of a batch."""

    value: Tensor  # a mean over the part, to be made small
    right: Tensor  # how many labels the network gave
    counted: Tensor  # of how many


class Task(Protocol):
    """A data set and a recipe. A task may ask the network more than once, and add up several losses.

    Attributes:
        reads: fields of the recipe that this kind of task reads and not every kind does.
    """

    reads: ClassVar[frozenset[str]]

    @property
    def data(self) -> DataSet:
        """What it is trained and tested on, on the device."""

    @property
    def recipe(self) -> Recipe:
        """How."""

    @property
    def asks(self) -> str:
        """What a network must return, in words."""

    def fits(self, model: nn.Module, outputs: Any) -> bool:
        """Whether a network returns that, by what it makes of one image of 64 x 64 in evaluation."""

    def parts(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """One process's share of an epoch: augmented bytes and labels, in the recipe's parts of a batch.

        What comes is a function of the recipe, the epoch and the share, and of nothing else.
        """

    def loss(self, network: Network, images: Tensor, labels: Tensor) -> Loss:
        """What a step makes small."""

    def score(
        self, model: nn.Module, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        """What the learning curve shows of an epoch, by name, in percent, over the test images."""

    def measure(self, model: nn.Module, device: str) -> dict[str, Any]:
        """All that a record says of a trained network, over the test images."""
