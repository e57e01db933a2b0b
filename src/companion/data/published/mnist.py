"""MNIST's 70,000 digits (28 x 28), from data/mnist, in the format of its four files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from torch import Tensor

from companion.core.errors import Refusal
from companion.data.labelled import Split
from companion.data.transformed import Transformed, transformed

_FOLDER = Path("data/mnist/package/data")


def _read(path: Path, magic: int, ahead: int) -> Tensor:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Refusal("MNIST is not in data/mnist: run `make fetch DATA=mnist`, with MIRROR=… if need be.") from None
    if int.from_bytes(content[:4], "big") != magic:
        raise Refusal(f"{path.name} is no file of MNIST: remove data/mnist, then fetch it again.")
    return torch.from_numpy(numpy.frombuffer(content, numpy.uint8, offset=ahead).copy())


def mnist(root: Path) -> tuple[Split, Split]:
    """The 60,000 digits to train on and the 10,000 to test: images (N, 1, 28, 28), uint8, and labels.

    Raises:
        Refusal: where the files are missing or others.
    """
    parts = []
    for name in ("train", "t10k"):
        images = _read(root / _FOLDER / f"{name}-images-idx3-ubyte", 2051, 16).view(-1, 1, 28, 28)
        labels = _read(root / _FOLDER / f"{name}-labels-idx1-ubyte", 2049, 8).long()
        parts.append(Split(images, labels))
    return parts[0], parts[1]


def shuffled(root: Path, train: int, test: int) -> tuple[Split, Split]:
    """All 70,000 digits in an order of our own, of which the first `train` and the next `test`."""
    one, two = mnist(root)
    images, labels = torch.cat((one.images, two.images)), torch.cat((one.labels, two.labels))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    first, second = order[:train], order[train : train + test]
    return Split(images[first], labels[first]), Split(images[second], labels[second])


def transformed_mnist(kind: str, halved: bool) -> Callable[[Path], Transformed]:
    """A maker of rotated (Larochelle et al., 2007) or reflected MNIST: 12,000 digits to train on, 50,000 to test.

    The files of rotated MNIST are in no registry, and so it is made here in that protocol: other digits, other angles, the same task.
    """
    return lambda root: transformed(*shuffled(root, 12_000, 50_000), kind, halved)
