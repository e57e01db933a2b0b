"""The data sets that networks are trained on, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from companion.data import boxed, instances, segmented
from companion.data.generated import periodic_sets
from companion.data.labelled import Labelled
from companion.data.published import cifar10, deeppcb, digits, folders, mnist, mnist_scale, solar_cells


class DataSet(Protocol):
    """Images with what is known of them; how a network is trained on them is a task's matter (companion.training.tasks)."""

    @property
    def count(self) -> int:
        """How many images there are to train on."""

    @property
    def channels(self) -> int:
        """Of an image."""

    def to(self, device: str | torch.device) -> Self:
        """The same, giving its batches on a device."""

    def normalize(self, images: Tensor) -> Tensor:
        """Bytes -> float32 of zero mean and unit variance, in the memory format of `images`."""


DATASETS: dict[str, Callable[[Path], DataSet]] = {
    "cifar10": cifar10.cifar10,
    "digits": digits.digits,
    "solar-cells": solar_cells.in_three_channels,
    "solar-cells-288": solar_cells.cut,
    "solar-cells-64": solar_cells.grey,
    **{f"solar-cells-64-{count}-images": partial(solar_cells.grey, few=count) for count in (30, 100, 300)},
    **{f"solar-cells-{count}-images": partial(solar_cells.in_three_channels, few=count) for count in (30, 100, 300)},
    "rotated-digits": digits.rotated_digits,
    "rotated-mnist": mnist.transformed_mnist("rotations", halved=False),
    "rotated-mnist-16": mnist.transformed_mnist("rotations", halved=True),
    "reflected-mnist": mnist.transformed_mnist("reflections", halved=False),
    "reflected-mnist-16": mnist.transformed_mnist("reflections", halved=True),
    "scaled-mnist": mnist_scale.scaled_mnist(halved=False),
    "scaled-mnist-16": mnist_scale.scaled_mnist(halved=True),
    "stl10": folders.stl10,
    "rotated-tiny-imagenet": folders.rotated_tiny_imagenet(64),
    "rotated-tiny-imagenet-65": folders.rotated_tiny_imagenet(65),
    "voc2012": segmented.voc2012,
    "voc-subset": segmented.voc_subset,
    "scenes": segmented.scenes,
    **periodic_sets.SETS,
    "deeppcb-pairs": deeppcb.pairs,
    "deeppcb-pairs-misregistered": partial(deeppcb.pairs, apart=None),
    "deeppcb-differences": deeppcb.differences,
    "deeppcb-boards": boxed.deeppcb_boards,
    "deeppcb-boards-640": partial(boxed.deeppcb_boards, shrunk=1),
    "periodic-boxes": boxed.periodic_boxes,
    "periodic-instances": instances.periodic_instances,
}


def labelled(name: str, root: Path) -> Labelled:
    """A data set of labelled images, by name."""
    data = DATASETS[name](root)
    assert isinstance(data, Labelled)
    return data
