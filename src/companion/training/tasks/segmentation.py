"""Segmentation: a label per pixel; cross-entropy, mIoU, and masks that move along with their image.

Training takes crops as the paper's recipe (VainF) does: a random scale of 0.5 to 2, a random crop, a flip. What a crop reads
beyond its image is of the mean colour here, and not counted (label 255); there it is black, and counted as background (label 0).
Sides are multiples of the networks' stride, 512 px where the recipe says 513.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask
from tqdm.auto import tqdm

from companion.core.errors import Refusal
from companion.data.published.voc import IGNORED
from companion.data.segmented import FILL, Pairs, Segmented
from companion.measures.accuracy import Prepare
from companion.models.deeplab import STRIDE
from companion.models.methods import METHODS
from companion.training.recipe import Recipe
from companion.training.tasks.task import Loss, Network
from mass.evaluate.consistency import segmentation_consistency
from mass.functional.shift import restore, shift
from mass.nn.evaluating import evaluating


@dataclass(frozen=True)
class Segmentation:
    """The task of images with a label per pixel."""

    reads: ClassVar[frozenset[str]] = frozenset({"size", "encoder_lr"})

    data: Segmented
    recipe: Recipe

    def __post_init__(self) -> None:
        if not self.recipe.size or self.recipe.size % STRIDE:
            raise Refusal(
                f"{self.recipe.dataset} is trained on crops: name their side (--size), a multiple of {STRIDE} pixels, not {self.recipe.size}."
            )

    @property
    def asks(self) -> str:
        return f"{len(self.data.classes)} maps as large as the image"

    def fits(self, model: nn.Module, outputs: Any) -> bool:
        return isinstance(outputs, Tensor) and outputs.shape[1:] == (len(self.data.classes), 64, 64)

    def parts(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        recipe, count = self.recipe, self.data.count
        generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
        order = torch.randperm(count, generator=generator)
        batches = order[: count // recipe.batch * recipe.batch].view(-1, recipe.batch)
        shares = [
            batch[rank * recipe.accumulate + part :: world * recipe.accumulate].tolist()
            for batch in batches
            for part in range(recipe.accumulate)
        ]
        yield from self.data.batches(_Crops(self.data.train, recipe, epoch, self.data.full), batch_sampler=shares)

    def loss(self, network: Network, images: Tensor, labels: Tensor) -> Loss:
        scores = network(images)
        right, counted = (scores.argmax(1) == labels).sum(), (labels != IGNORED).sum()
        return Loss(F.cross_entropy(scores, labels, ignore_index=IGNORED), right, counted)

    def score(
        self, model: nn.Module, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        metric = self._jaccard()
        with evaluating(model), autocast():
            for images, labels in self.data.test_batches(self.recipe.size):
                metric.update(model(prepare(images)).argmax(1), labels)
        return {"test_miou": 100 * metric.compute().item()}

    def measure(self, model: nn.Module, device: str) -> dict[str, Any]:
        """Percentages over all test images.

        Returns:
            n; miou, pixels of all images pooled, then classes averaged, but for those that neither a label nor an answer
            names; `identical`, images whose scores moved along, bit-identically, with one random circular shift; mascc_paper and
            mascc_lps, the agreement of labels by two protocols (`mass.segmentation_consistency`).
        """
        data, size = self.data, self.recipe.size
        metric, generator = self._jaccard(), torch.Generator().manual_seed(0)
        same = total = 0
        with evaluating(model):
            for images, labels in tqdm(data.test_batches(size), desc=self.recipe.name, leave=False, disable=None):
                x, by = data.normalize(images), torch.randint(size, (len(images), 2), generator=generator)
                scores, moved = model(x), model(shift(x, by.to(x.device)))
                metric.update(scores.argmax(1), labels)
                same += int((restore(moved, by.to(x.device)) == scores).flatten(1).all(1).sum())
                total += len(x)
        numbers: dict[str, Any] = {"n": total, "miou": 100 * metric.compute().item(), "identical": 100 * same / total}
        for name, protocol in (("mascc_paper", "mass"), ("mascc_lps", "lps")):
            normalised = (data.normalize(images) for images, _ in data.test_batches(size))
            numbers[name] = segmentation_consistency(model, normalised, protocol)
        return numbers

    def _jaccard(self) -> Any:
        from torchmetrics.classification import MulticlassJaccardIndex  # not on a machine that classifies

        # Every process sees all test images: there is nothing to gather.
        metric = MulticlassJaccardIndex(
            len(self.data.classes), ignore_index=IGNORED, validate_args=False, sync_on_compute=False
        )
        return metric.to(self.data.device)


@dataclass(frozen=True)
class _Crops(Dataset[tuple[Tensor, Tensor]]):
    """Augmented images of one epoch: what comes of an image follows from (seed, epoch, image)."""

    pairs: Pairs
    recipe: Recipe
    epoch: int
    full: int

    def __len__(self) -> int:
        return len(self.pairs)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.pairs[index]
        recipe, share = self.recipe, self.recipe.size / self.full
        augment = v2.Compose(
            [
                v2.ScaleJitter(tuple(image.shape[1:]), (0.5 * share, 2.0 * share), antialias=True),
                v2.RandomCrop(recipe.size, pad_if_needed=True, fill=FILL),
                v2.RandomHorizontalFlip(0.5 * recipe.flip),
            ]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((1_000_003 * recipe.seed + self.epoch) * 1_000_003 + index)
            image, labels = augment(Image(image), Mask(labels))
            by = torch.randint(recipe.size, (2,)).tolist() if METHODS[recipe.method].shifts else [0, 0]
        return image.as_subclass(Tensor).roll(by, (1, 2)), labels.as_subclass(Tensor).roll(by, (0, 1)).long()
