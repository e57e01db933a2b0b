"""Solar cells in electroluminescence (ELPV; Buerhop-Lutz et al., 2018; Deitsch et al., 2019, 2021): 2,624 grey images.

Cells were cut out of photographs of 44 modules and judged by experts: functional, or defective with what confidence. They are
read out of the wheel in which their authors publish them, which is neither installed nor imported:
`python -m companion.fetch elpv` brings it to data/elpv. Licence: CC BY-NC-SA 4.0, for non-commercial use.
"""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from companion.core.errors import Refusal
from companion.data.labelled import Labelled, Split
from companion.data.normalisation import MEAN, STD
from companion.fetching.catalogue import FILES

SIDE = 300  # pixels
KINDS = ("mono", "poly")  # of the silicon: one crystal, or many
_FOLDER = "elpv_dataset/data"


class SolarCells(Dataset[tuple[Tensor, float]]):
    """All cells, in their authors' order; an item is (image (1, 300, 300), uint8, probability of a defect).

    Args:
        root: the project's folder.

    Attributes:
        probabilities: of a defect, as the experts judged: 0, 1/3, 2/3 or 1; (2624,) float64.
        kinds: indices into `KINDS`, (2624,) int64.

    Raises:
        Refusal: where the images were not fetched, or the file is another.
    """

    def __init__(self, root: Path) -> None:
        (source,) = (source for source in FILES if source.name == "elpv")
        self.path = root / "data" / source.name / source.file
        if not self.path.exists():
            raise Refusal(f"data/{source.name} has not been fetched: run `python -m companion.fetch {source.name}`.")
        try:
            with zipfile.ZipFile(self.path) as wheel:
                rows = [line.split() for line in wheel.read(f"{_FOLDER}/labels.csv").decode().splitlines() if line]
        except (zipfile.BadZipFile, KeyError):
            place = self.path.relative_to(root)
            raise Refusal(f"{place} is damaged or another file: remove it, then fetch {source.name} again.") from None
        self.names = [name for name, *_ in rows]
        self.probabilities = torch.tensor([float(value) for _, value, _ in rows], dtype=torch.float64)
        self.kinds = torch.tensor([KINDS.index(kind) for *_, kind in rows])
        self._wheel: zipfile.ZipFile | None = None

    @classmethod
    def are_there(cls, root: Path) -> bool:
        """Whether they were fetched."""
        return any((root / "data" / source.name / source.file).exists() for source in FILES if source.name == "elpv")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        if self._wheel is None:
            self._wheel = zipfile.ZipFile(self.path)
        with Image.open(io.BytesIO(self._wheel.read(f"{_FOLDER}/{self.names[index]}"))) as image:
            return pil_to_tensor(image.convert("L")), float(self.probabilities[index])

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_wheel": None}  # each process of a loader opens the file for itself

    def images(self, size: int = SIDE) -> Tensor:
        """All images, scaled with anti-aliasing where `size` is not theirs: (2624, 1, size, size), uint8."""
        images = [self[index][0] for index in range(len(self))]
        if size != SIDE:
            images = [resize(image, [size, size], antialias=True) for image in images]
        return torch.stack(images)

    @property
    def defective(self) -> Tensor:
        """Which are more likely defective than not: (2624,) int64, of 0 and 1."""
        return (self.probabilities > 0.5).long()

    def split(self) -> tuple[Tensor, Tensor]:
        """Which cells to train on, three quarters, and which to test, drawn once: (1968,) and (656,) int64.

        Equal shares of every judgement and kind. Those to test are in an order of chance, so that the first few of them are of all
        groups. Which module a cell was cut from is not published: cells of one module may be on both sides.
        """
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(self), generator=generator)
        groups = (3 * self.probabilities[order]).round().long() * 2 + self.kinds[order]
        order = order[groups.argsort(stable=True)]  # group by group, at random within
        held = torch.arange(len(order)) % 4 == 3
        test = order[held]
        return order[~held], test[torch.randperm(len(test), generator=generator)]


@cache  # decoding and scaling them takes longer than many a training
def _splits(root: Path, side: int, channels: int, cut: bool = False) -> tuple[Split, Split]:
    cells = SolarCells(root)
    images, labels = center_crop(cells.images(), [side]) if cut else cells.images(side), cells.defective
    images = images.expand(-1, channels, -1, -1)
    train, test = (Split(images[rows].contiguous(), labels[rows]) for rows in cells.split())
    return train, test


def in_three_channels(root: Path, few: int = 0) -> Labelled:
    """At 96 x 96, functional (0) or more likely defective than not (1); a grey image stands in three channels, for networks that know colours.

    Args:
        few: as of `grey`.
    """
    train, test = _splits(root, 96, 3)
    return Labelled(_again_and_again(train, few), test, MEAN, STD)


def cut(root: Path) -> Labelled:
    """Their middle 288 x 288 pixels, not scaled, in three channels; functional (0) or more likely defective than not (1)."""
    return Labelled(*_splits(root, 288, 3, cut=True), MEAN, STD)


def grey(root: Path, few: int = 0) -> Labelled:
    """At 64 x 64, grey, functional (0) or more likely defective than not (1).

    Args:
        few: of the training images, equal shares of every judgement and kind, again and again; 0: all of them.
    """
    train, test = _splits(root, 64, 1)
    return Labelled(_again_and_again(train, few), test, (0.49,), (0.2,))


def _again_and_again(train: Split, few: int) -> Split:
    few = few or len(train)
    chosen = torch.arange(few) * len(train) // few  # training images lie group by group
    rows = chosen[torch.arange(len(train)) % few]
    return Split(train.images[rows], train.labels[rows])
