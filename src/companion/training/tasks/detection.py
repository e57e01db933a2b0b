"""Detection by a dense map: focal loss and GIoU on the torus, AP.

Positions whose pixel lies in the middle of a box (half as wide and high, at least a stride each way) are trained to name its kind and
how far it reaches (Tian et al., 2019, with centre sampling); where boxes meet, the smallest. Distances are the shortest on the
torus, and positions lie where the network's origin puts them. Crops are cut out of images that are larger than the recipe's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from companion.core.errors import Refusal
from companion.data.boxed import NOTHING, BoxedSet, cut, shifted_boxes
from companion.measures.accuracy import Prepare
from companion.measures.detection.detect import average_precision_of, detect
from companion.models.detectors.dense_detector import STRIDE
from companion.models.detectors.detections import grid_origins, positions
from companion.models.methods import METHODS
from companion.training.recipe import Recipe
from companion.training.tasks.task import Loss, Network

IOU = 0.33  # DeepPCB's: a detection that overlaps a box by more has found it
_LOOKED_AT = 50  # test images, while training


@dataclass(frozen=True)
class Detection:
    """The task of images with boxes."""

    reads: ClassVar[frozenset[str]] = frozenset({"size"})

    data: BoxedSet
    recipe: Recipe

    def __post_init__(self) -> None:
        side = self.data.train.images.shape[3]
        if self.recipe.size > side:
            raise Refusal(
                f"Crops of {self.recipe.size} pixels (--size) are larger than the images of {self.recipe.dataset}: {side}."
            )

    @property
    def asks(self) -> str:
        return f"a map of {len(self.data.kinds)} + 4 channels at stride {STRIDE}"

    def fits(self, model: nn.Module, outputs: Any) -> bool:
        return isinstance(outputs, Tensor) and outputs.shape[1:] == (len(self.data.kinds) + 4, *[64 // STRIDE] * 2)

    def parts(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        recipe, train = self.recipe, self.data.train
        generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
        count = len(train) // recipe.batch * recipe.batch
        order = torch.randperm(len(train), generator=generator)[:count]
        side = recipe.size or train.images.shape[3]
        room = train.images.shape[3] - side
        corners = torch.randint(room + 1, (count, 2), generator=generator)
        shifts = torch.randint(side, (count, 2), generator=generator) * METHODS[recipe.method].shifts
        flips = (torch.rand(count, generator=generator) < 0.5) & recipe.flip
        part = recipe.batch // (world * recipe.accumulate)
        for k, rows in enumerate(torch.arange(count).split(part)):
            if k // recipe.accumulate % world != rank:
                continue
            images, boxes = train.images[order[rows]], train.boxes[order[rows]]
            if room:
                images, boxes = cut(images, boxes, corners[rows], side)
            images, boxes = _flipped(images, boxes, flips[rows])
            by = shifts[rows]
            yield _shifted(images, by), shifted_boxes(boxes, by.to(boxes.device))

    def loss(self, network: Network, images: Tensor, labels: Tensor) -> Loss:
        with grid_origins(network.model) as origin_of:
            maps = network(images)
            origin = origin_of(images)
        kinds = len(self.data.kinds)
        logits, reaches = maps[:, :kinds].permute(0, 2, 3, 1), maps[:, kinds:].permute(0, 2, 3, 1)
        wanted, sides = targets(labels, positions(origin, STRIDE, (maps.shape[2], maps.shape[3])))
        positive = wanted != NOTHING
        hot = torch.zeros_like(logits)
        hot[positive] = nn.functional.one_hot(wanted[positive], kinds).to(hot)
        number = positive.sum().clamp(min=1)
        focal = sigmoid_focal_loss(logits, hot, reduction="sum") / number
        signs = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=maps.device)  # left, up, right, down as corners
        boxes = generalized_box_iou_loss(reaches[positive] * signs, sides[positive] / STRIDE * signs, reduction="sum")
        right = (logits.argmax(3) == wanted)[positive].sum()
        return Loss(focal + boxes / number, right, positive.sum())

    def score(
        self, model: nn.Module, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        with autocast():
            found = detect(model, self.data.test.first(_LOOKED_AT).images, prepare)
        return {"test_ap33": 100 * average_precision_of(found, self.data.test.first(_LOOKED_AT), IOU)}

    def measure(self, model: nn.Module, device: str) -> dict[str, Any]:
        """Over all test images: n; ap33, ap50, the mean AP of the kinds at an IoU above 0.33 and 0.5, in percent."""
        found = detect(model, self.data.test.images, self.data.normalize)
        scores = {f"ap{round(100 * iou)}": 100 * average_precision_of(found, self.data.test, iou) for iou in (IOU, 0.5)}
        return {"n": len(self.data.test), **scores}


def targets(boxes: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """What positions are to say: boxes (B, M, 5) and pixels (B, h, w, 2) -> kinds (B, h, w), sides (B, h, w, 4) in pixels.

    Sides are how far the box reaches to the left, up, right and down; a position that answers for no box has the kind -1.
    """
    size = torch.tensor(at.shape[1:3], device=at.device) * STRIDE
    x1, y1, x2, y2, kind = boxes[:, None, None].unbind(-1)  # (B, 1, 1, M)
    half = torch.stack((y2 - y1, x2 - x1), -1) / 2
    centre = torch.stack((y1 + y2, x1 + x2), -1) / 2
    away = at[:, :, :, None] - centre  # (B, h, w, M, 2)
    away = (away + size / 2) % size - size / 2
    inside = (away.abs() <= (half / 2).clamp(min=STRIDE / 2)).all(-1) & (kind != NOTHING)
    areas = torch.where(inside, half.prod(-1), torch.inf)
    if not areas.shape[3]:
        return torch.full(at.shape[:3], NOTHING, device=at.device), at.new_zeros((*at.shape[:3], 4)).float()
    which = areas.argmin(3, keepdim=True)
    wanted = torch.where(inside.any(3), kind.expand_as(areas).gather(3, which)[..., 0].long(), NOTHING)
    ends = torch.cat(((half + away).flip(-1), (half - away).flip(-1)), -1)  # left, up, right, down
    sides = ends.gather(3, which[..., None].expand(*which.shape, 4))[..., 0, :]
    return wanted, sides.clamp(min=0)


def _shifted(images: Tensor, by: Tensor) -> Tensor:
    """Bytes, each by its own shift."""
    return torch.stack([one.roll((-i, -j), (1, 2)) for one, (i, j) in zip(images, by.tolist(), strict=True)])


def _flipped(images: Tensor, boxes: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Some of them from left to right: pixel i becomes W - 1 - i, and an edge at e one at W - e."""
    width, which = images.shape[3], which.to(images.device)
    x1, y1, x2, y2, kind = boxes.unbind(-1)
    mirrored = torch.stack((width - x2, y1, width - x1, y2, kind), -1)
    return (
        torch.where(which[:, None, None, None], images.flip(3), images),
        torch.where(which[:, None, None], mirrored, boxes),
    )
