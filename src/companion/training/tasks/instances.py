"""Instance segmentation: a detector with masks, whose losses are its own; AP of masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from companion.data.instances import InstanceSet, objects
from companion.data.labelled import Split
from companion.measures.accuracy import Prepare
from companion.measures.detection.average_precision import mean_average_precision
from companion.measures.detection.masks import matched_masks, object_ious, segment
from companion.training.recipe import Recipe
from companion.training.tasks.classification import parts_of
from companion.training.tasks.task import Loss, Network

_LOOKED_AT = 16  # test images, while training


@dataclass(frozen=True)
class InstanceSegmentation:
    """The task of images with masks."""

    reads: ClassVar[frozenset[str]] = frozenset()

    data: InstanceSet
    recipe: Recipe

    @property
    def asks(self) -> str:
        return "a detector's boxes and masks"

    def fits(self, model: nn.Module, outputs: Any) -> bool:
        return isinstance(outputs, list) and "masks" in outputs[0]

    def parts(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        train = self.data.train
        both = Split(torch.cat((train.images, train.maps), 1), torch.arange(len(train)))  # flipped and shifted together
        for part, _ in parts_of(both, self.recipe, epoch, rank, world):
            yield part[:, :-2].byte(), part[:, -2:].byte()

    def loss(self, network: Network, images: Tensor, labels: Tensor) -> Loss:
        value = torch.stack([*network.losses(images, [objects(maps) for maps in labels]).values()]).sum()
        return Loss(value, torch.zeros_like(value), torch.zeros_like(value))

    def score(
        self, model: nn.Module, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        test = self.data.test.first(_LOOKED_AT)
        with autocast():
            found = segment(model, test.images, prepare)
        return {"test_mask_iou": 100 * float(torch.cat(object_ious(found, test)).mean())}

    def measure(self, model: nn.Module, device: str) -> dict[str, Any]:
        """Over all test images: n; mask_iou, the mean over objects of the best mask of its kind; mask_ap50; in percent."""
        test = self.data.test
        found = segment(model, test.images, self.data.normalize)
        ap = mean_average_precision(matched_masks(found, test, len(self.data.kinds)))
        return {
            "n": len(test),
            "mask_iou": 100 * float(torch.cat(object_ious(found, test)).mean()),
            "mask_ap50": 100 * ap,
        }
