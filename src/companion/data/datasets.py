"""The data sets that networks are trained on, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from companion.data import boxed, deeppcb, folders, labelled, periodic_sets, segmented, transformed


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
    "cifar10": labelled.cifar10,
    "digits": labelled.digits,
    "solar-cells": labelled.solar_cells,
    "rotated-digits": transformed.rotated_digits,
    "rotated-mnist": transformed.from_mnist("rotations", halved=False),
    "rotated-mnist-16": transformed.from_mnist("rotations", halved=True),
    "reflected-mnist": transformed.from_mnist("reflections", halved=False),
    "reflected-mnist-16": transformed.from_mnist("reflections", halved=True),
    "scaled-mnist": transformed.scaled_mnist(halved=False),
    "scaled-mnist-16": transformed.scaled_mnist(halved=True),
    "stl10": folders.stl10,
    "rotated-tiny-imagenet": folders.rotated_tiny_imagenet(64),
    "rotated-tiny-imagenet-65": folders.rotated_tiny_imagenet(65),
    "voc2012": segmented.voc2012,
    "voc-subset": segmented.voc_subset,
    "scenes": segmented.scenes,
    **periodic_sets.SETS,
    "deeppcb-pairs": deeppcb.pairs,
    "deeppcb-differences": deeppcb.differences,
    "deeppcb-boards": boxed.deeppcb_boards,
    "periodic-boxes": boxed.periodic_boxes,
}
