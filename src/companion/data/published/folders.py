"""STL-10 and TinyImageNet as their official archives unpack: read where they are, and nothing of them is fetched.

data/stl10/stl10_binary/{train,test}_{X,y}.bin                                 (96 x 96, 10 classes)
data/tiny-imagenet/tiny-imagenet-200/{wnids.txt,train/<class>/images,val}      (64 x 64, 200 classes)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, resize

from companion.core.errors import Refusal
from companion.data.labelled import Labelled, Split, statistics
from companion.data.transformed import Transformed, transformed

_STL10 = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
_TINY = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_SIDE = 96


def _bytes_of(path: Path, where: str) -> numpy.ndarray:
    if not path.exists():
        raise Refusal(f"{path.parent.name}/{path.name} is missing: unpack {where} in data/{path.parents[1].name}.")
    return numpy.fromfile(path, numpy.uint8)


def stl10(root: Path) -> Labelled:
    """STL-10's labelled images: 5,000 to train on and 8,000 to test, (N, 3, 96, 96).

    Raises:
        Refusal: where a file is missing, or holds another number of images than labels.
    """
    splits = []
    for name in ("train", "test"):
        folder = root / "data/stl10/stl10_binary"
        pixels, labels = (_bytes_of(folder / f"{name}_{kind}.bin", _STL10) for kind in ("X", "y"))
        if len(pixels) != len(labels) * 3 * _SIDE * _SIDE:
            raise Refusal(
                f"{name}_X.bin holds {len(pixels) / (3 * _SIDE * _SIDE):g} images, and {name}_y.bin {len(labels)} labels."
            )
        images = torch.from_numpy(pixels).view(-1, 3, _SIDE, _SIDE).transpose(2, 3)  # columns come first there
        splits.append(Split(images.contiguous(), torch.from_numpy(labels).long() - 1))
    return Labelled(splits[0], splits[1], *statistics(splits[0].images))


def tiny_imagenet(root: Path, classes: int = 200) -> tuple[Split, Split]:
    """TinyImageNet's training and validation images, (N, 3, 64, 64), of the first `classes` by name.

    Raises:
        Refusal: naming the first piece that is missing.
    """
    folder = root / "data/tiny-imagenet/tiny-imagenet-200"
    for piece in ("wnids.txt", "train", "val/val_annotations.txt"):
        if not (folder / piece).exists():
            raise Refusal(f"tiny-imagenet-200/{piece} is missing: unpack {_TINY} in data/tiny-imagenet.")
    names = sorted((folder / "wnids.txt").read_text(encoding="utf-8").split())[:classes]
    known = {name: number for number, name in enumerate(names)}
    training = [
        (path, known[name]) for name in names for path in sorted((folder / "train" / name / "images").glob("*.JPEG"))
    ]
    lines = (folder / "val/val_annotations.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t")[:2] for line in lines if line.strip()]
    testing = [(folder / "val/images" / file, known[name]) for file, name in rows if name in known]
    return _split(training), _split(testing)


def _split(entries: list[tuple[Path, int]]) -> Split:
    return Split(torch.stack([_image(path) for path, _ in entries]), torch.tensor([label for _, label in entries]))


def _image(path: Path) -> Tensor:
    try:
        with Image.open(path) as opened:
            return pil_to_tensor(opened.convert("RGB"))
    except FileNotFoundError:
        raise Refusal(f"{path.name} is listed and is not there: unpack {_TINY} anew.") from None


def rotated_tiny_imagenet(side: int) -> Callable[[Path], Transformed]:
    """A maker of what the authors of Khetan et al. (2021) train on: 100 classes, turned by any angle, black outside a disc.

    Which 100 they chose is not published: here the first by name.
    """

    def make(root: Path) -> Transformed:
        splits = [Split(_disc(resize(part.images, [side, side])), part.labels) for part in tiny_imagenet(root, 100)]
        return transformed(splits[0], splits[1], "rotations", halved=False)

    return make


def _disc(images: Tensor) -> Tensor:
    """Black outside the largest disc, so that a turn takes nothing away."""
    place = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    inside = place[:, None].square() + place.square() <= (images.shape[-1] / 2) ** 2
    return images * inside
