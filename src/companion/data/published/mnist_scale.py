"""MNIST-scale (Sosnovik et al., 2020): MNIST's digits scaled to 0.3 to 1, by the recipe of its authors' code.

Six realisations, by seed; 10,000 digits to train on, 50,000 to test and 2,000 to validate. Their check is the md5 of all PNG files,
which depends on the version of a compression library: written by Pillow 9.5, seeds 0 to 5 have the published sums. Pixels do not
depend on it; `PIXELS` are their hashes then.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor

from companion.core.errors import Refusal
from companion.data.labelled import Split, statistics
from companion.data.published.mnist import mnist
from companion.data.transformed import Transformed, half

TRAIN, VALIDATE, TEST = 10_000, 2_000, 50_000
SCALES = (0.3, 1.0)

# Of the pixels of the realisations whose PNG files have the published sums (prepare_mnist_scale.sh of ISosnovik/sesn).
PIXELS = (
    "df893e4e01fd613683c35699623efd5820628b74d1b477fe5b71a3e8cdb72f74",
    "dc6295d5ce4882f3dfa08943e47e8cd7957fc7cc14bdf889eef175c928693708",
    "7c3f5206982fe5e4ae814adddff34b30af238400ebfe14280b2dd282704ba79d",
    "a5d4cb6905175fc6e11007073abdd973657f3b4d8039644f3036f488d19271bd",
    "1dbb2d211d0ad04cddfb2e75c6d7d94d1af262c848db48d38e284123ebb1d8c6",
    "b2960be25c44ddf23b5393baabb257d0b89c76ed8be05d58ff9d12893d0b2733",
)


def _scaled(digit: numpy.ndarray, scale: float) -> Image.Image:
    """Bicubic, about (14.5, 14.5), which torchvision took for the centre then."""
    factor = 1 / scale
    offset = 14.5 - factor * 14.5
    matrix = (factor, 0, offset, 0, factor, offset)
    return Image.fromarray(digit).transform(
        (28, 28), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=0
    )


def _realised(images: numpy.ndarray, labels: numpy.ndarray, seed: int) -> Iterator[tuple[str, int, Image.Image]]:
    """Every image in turn: its split, which of MNIST's it was, and what became of it."""
    from sklearn.model_selection import train_test_split  # not on a bare GPU machine

    state, draw = numpy.random.get_state(), random.Random(seed)
    numpy.random.seed(seed)  # theirs, which scikit-learn reads
    rows = numpy.arange(len(labels))
    kept, test = train_test_split(rows, train_size=TRAIN + VALIDATE, test_size=TEST, stratify=labels)
    train, validate = train_test_split(kept, train_size=TRAIN, test_size=VALIDATE, stratify=labels[kept])
    numpy.random.set_state(state)
    for split, chosen in (("train", train), ("test", test), ("val", validate)):
        for row in chosen:
            draw.uniform(0, 0)  # an angle
            yield split, int(row), _scaled(images[row], draw.uniform(*SCALES))


def _digits(root: Path) -> tuple[numpy.ndarray, numpy.ndarray]:
    both = mnist(root)
    images, labels = torch.cat([part.images for part in both]), torch.cat([part.labels for part in both])
    return images[:, 0].numpy(), labels.numpy()


def mnist_scale(root: Path, seed: int = 0) -> dict[str, Split]:
    """The splits 'train', 'test' and 'val' of one realisation, images (N, 1, 28, 28), uint8; 'upright' is 'test' at full size.

    Raises:
        Refusal: where MNIST is missing, and where the pixels are not those of the published files.
    """
    originals, labels = _digits(root)
    images: dict[str, list[Tensor]] = {}
    rows: dict[str, list[int]] = {}
    digest = hashlib.sha256()
    for split, row, image in _realised(originals, labels, seed):
        pixels = numpy.array(image)
        digest.update(pixels.tobytes())
        images.setdefault(split, []).append(torch.from_numpy(pixels))
        rows.setdefault(split, []).append(row)
    if digest.hexdigest() != PIXELS[seed]:
        raise Refusal(
            f"MNIST-scale of seed {seed} came out other than published: its pixels' hash is {digest.hexdigest()[:12]}…, "
            f"not {PIXELS[seed][:12]}…; the versions of Pillow or scikit-learn in requirements.lock give it."
        )
    images["upright"], rows["upright"] = [torch.from_numpy(originals[row]) for row in rows["test"]], rows["test"]
    return {
        split: Split(torch.stack(images[split])[:, None], torch.from_numpy(labels[rows[split]])) for split in images
    }


def scaled_mnist(halved: bool) -> Callable[[Path], Transformed]:
    """A maker of MNIST-scale, realisation 0."""

    def make(root: Path) -> Transformed:
        made = mnist_scale(root)
        train, test = (
            Split(half(made[n].images) if halved else made[n].images, made[n].labels) for n in ("train", "test")
        )
        return Transformed(train, test, *statistics(train.images), made["upright"], "scales", halved)

    return make
