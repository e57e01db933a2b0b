"""Pictures with a label per pixel: PASCAL VOC, and scenes of digits to try things on.

Training takes crops as the paper's recipe (VainF) does: a random scale of 0.5 to 2, a random crop, a flip; what a crop reads
beyond its picture is of the mean colour, and not counted. Sides are multiples of the networks' stride, 512 px where the
recipe says 513. Testing takes whole pictures, framed likewise: at 512 px every picture of VOC fits as it is. Smaller sizes
scale all pictures alike, by size / 512.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask
from tqdm.auto import tqdm

from companion.core.errors import Refusal
from companion.data.voc import CLASSES, IGNORED, Voc
from companion.measures.accuracy import Prepare
from companion.models.methods import METHODS
from mass.evaluation import evaluating
from mass.metrics import segmentation_consistency
from mass.shift import restore, shift

if TYPE_CHECKING:
    from companion.training.recipe import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the encoders' weights are made for
_FILL = {Image: [round(255 * value) for value in MEAN], Mask: IGNORED}
_FULL = 512  # the side at which pictures keep their size
_BATCH = 8  # test pictures at a time

Pairs = Dataset[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Segmented:
    """A data set: two splits of (picture (3, H, W), labels (H, W)), both uint8, and the names of the labels."""

    train: Pairs
    test: Pairs
    classes: tuple[str, ...]
    full: int = _FULL
    device: str | torch.device = "cpu"

    channels = 3

    @property
    def count(self) -> int:
        return len(self.train)  # type: ignore[arg-type]

    def to(self, device: str | torch.device) -> Segmented:
        return replace(self, device=device)

    def normalize(self, images: Tensor) -> Tensor:
        """Bytes -> float32 as ImageNet networks expect it, in the memory format of `images`."""
        mean, std = (torch.tensor(v)[:, None, None].to(images.device) * 255 for v in (MEAN, STD))
        return (images - mean) / std

    def parts(self, recipe: Recipe, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
        order = torch.randperm(self.count, generator=generator)
        batches = order[: self.count // recipe.batch * recipe.batch].view(-1, recipe.batch)
        shares = [
            batch[rank * recipe.accumulate + part :: world * recipe.accumulate].tolist()
            for batch in batches
            for part in range(recipe.accumulate)
        ]
        yield from self._load(_Crops(self.train, recipe, epoch, self.full), batch_sampler=shares)

    def framed(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """One test picture whole: bytes (3, size, size) and labels (size, size), int64."""
        return _Framed(self.test, size, self.full)[index]

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All test pictures whole, framed: bytes (B, 3, size, size) and labels (B, size, size), int64."""
        yield from self._load(_Framed(self.test, size, self.full), batch_size=_BATCH)

    def _load(self, pictures: Pairs, **how: Any) -> Iterator[tuple[Tensor, Tensor]]:
        # On a CPU the cores are the network's. A generator of its own, for a loader draws from the global one otherwise.
        workers = 0 if torch.device(self.device).type == "cpu" else min(os.cpu_count() or 1, 8)
        for images, labels in DataLoader(pictures, num_workers=workers, generator=torch.Generator(), **how):
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def score(
        self, model: nn.Module, recipe: Recipe, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        metric = self._jaccard()
        with evaluating(model), autocast():
            for images, labels in self.test_batches(recipe.size):
                metric.update(model(prepare(images)).argmax(1), labels)
        return {"test_miou": 100 * metric.compute().item()}

    def measure(self, model: nn.Module, recipe: Recipe, device: str) -> dict[str, Any]:
        """Percentages over all test pictures.

        Returns:
            n; miou, pixels of all pictures pooled, then classes averaged, but for those that neither a label nor an answer
            names; identical, pictures whose scores moved along, to the bit, with one random circular shift; mascc_paper and
            mascc_lps, the agreement of labels by two protocols (`mass.segmentation_consistency`).
        """
        metric, generator = self._jaccard(), torch.Generator().manual_seed(0)
        same = total = 0
        with evaluating(model):
            for images, labels in tqdm(self.test_batches(recipe.size), desc=recipe.name, leave=False, disable=None):
                x, by = self.normalize(images), torch.randint(recipe.size, (len(images), 2), generator=generator)
                scores, moved = model(x), model(shift(x, by.to(x.device)))
                metric.update(scores.argmax(1), labels)
                same += int((restore(moved, by.to(x.device)) == scores).flatten(1).all(1).sum())
                total += len(x)
        numbers: dict[str, Any] = {"n": total, "miou": 100 * metric.compute().item(), "identical": 100 * same / total}
        for name, protocol in (("mascc_paper", "mass"), ("mascc_lps", "lps")):
            pictures = (self.normalize(images) for images, _ in self.test_batches(recipe.size))
            numbers[name] = segmentation_consistency(model, pictures, protocol)
        return numbers

    def _jaccard(self) -> Any:
        from torchmetrics.classification import MulticlassJaccardIndex  # not on a machine that classifies

        # Every process sees all test pictures: there is nothing to gather.
        metric = MulticlassJaccardIndex(
            len(self.classes), ignore_index=IGNORED, validate_args=False, sync_on_compute=False
        )
        return metric.to(self.device)


@dataclass(frozen=True)
class _Crops(Dataset[tuple[Tensor, Tensor]]):
    """Augmented pictures of one epoch: what comes of a picture follows from (seed, epoch, picture)."""

    pictures: Pairs
    recipe: Recipe
    epoch: int
    full: int

    def __len__(self) -> int:
        return len(self.pictures)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.pictures[index]
        recipe, share = self.recipe, self.recipe.size / self.full
        augment = v2.Compose(
            [
                v2.ScaleJitter(tuple(image.shape[1:]), (0.5 * share, 2.0 * share), antialias=True),
                v2.RandomCrop(recipe.size, pad_if_needed=True, fill=_FILL),
                v2.RandomHorizontalFlip(0.5 * recipe.flip),
            ]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((1_000_003 * recipe.seed + self.epoch) * 1_000_003 + index)
            image, labels = augment(Image(image), Mask(labels))
            by = torch.randint(recipe.size, (2,)).tolist() if METHODS[recipe.method].shifts else [0, 0]
        return image.as_subclass(Tensor).roll(by, (1, 2)), labels.as_subclass(Tensor).roll(by, (0, 1)).long()


@dataclass(frozen=True)
class _Framed(Dataset[tuple[Tensor, Tensor]]):
    """Whole pictures in the middle of squares."""

    pictures: Pairs
    size: int
    full: int

    def __len__(self) -> int:
        return len(self.pictures)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.pictures[index]
        height, width = (round(side * self.size / self.full) for side in image.shape[1:])
        if max(height, width) > self.size:
            raise Refusal(f"A picture of {tuple(image.shape[1:])} px does not fit the {self.full} px it is framed in.")
        top, left = (self.size - height) // 2, (self.size - width) // 2
        edges = [left, top, self.size - width - left, self.size - height - top]
        frame = v2.Compose([v2.Resize((height, width), antialias=True), v2.Pad(edges, fill=_FILL)])
        image, labels = frame(Image(image), Mask(labels))
        return image.as_subclass(Tensor), labels.as_subclass(Tensor).long()


def voc2012(root: Path) -> Segmented:
    """PASCAL VOC 2012 from data/voc2012: 10,582 pictures of train_aug, 1,449 of val."""
    folder = root / "data" / "voc2012"
    return Segmented(Voc(folder, "train_aug", 10_582), Voc(folder, "val", 1_449), CLASSES)


def voc_subset(root: Path) -> Segmented:
    """The part of it in data/voc-subset: 560 and 462 pictures, mostly animals and persons; for comparisons only."""
    folder = root / "data" / "voc-subset"
    if not folder.exists():
        raise Refusal("data/voc-subset is not there: run `make fetch DATA=voc-subset` with MIRROR=...")
    return Segmented(Voc(folder, "train_aug", 560), Voc(folder, "val", 462), CLASSES)


def scenes(root: Path) -> Segmented:
    """Photographed walls of digits: scikit-learn's, scattered over crops of its two photographs, 64 x 64."""
    from companion.data.scenes import SIDE, Scenes  # scikit-learn's: not on a bare GPU machine

    return Segmented(Scenes(96, seed=0), Scenes(32, seed=1), ("background", *"0123456789"), SIDE)
