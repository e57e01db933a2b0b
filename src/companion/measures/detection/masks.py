"""Masks of detected objects beside the true ones: how well they overlap, and how many of their pixels stay when an image moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from companion.data.instances import Instances, objects
from companion.measures.accuracy import Prepare
from companion.measures.detection.average_precision import Matched, match_by
from companion.models.detectors.detections import Found
from mass.nn.evaluating import evaluating

BATCH = 16  # images at a time
MASK = 0.5  # a pixel belongs to an object from this probability on
IOU = 0.5  # from which a mask has found an object


def segment(model: nn.Module, images: Tensor, prepare: Prepare) -> list[Found]:
    """What a detector with masks finds in bytes (N, C, H, W), on the CPU; labels from 0 on, masks (K, 1, H, W) are probabilities."""
    found: list[Found] = []
    with evaluating(model):
        for part in images.split(BATCH):
            for one in model(prepare(part)):
                moved = {name: value.cpu() for name, value in one.items()}
                found.append(moved | {"labels": moved["labels"] - 1})
    return found


def masks_of(found: Found) -> Tensor:
    """(K, H, W), bool."""
    return found["masks"][:, 0] > MASK


def _overlaps(found: Found, true: dict[str, Tensor]) -> Tensor:
    """IoU of masks, (K, M)."""
    ours, theirs = masks_of(found).flatten(1).float(), true["masks"].flatten(1).float()
    both = ours @ theirs.T
    return both / (ours.sum(1)[:, None] + theirs.sum(1) - both).clamp(min=1)


def matched_masks(found: Sequence[Found], truth: Instances, kinds: int) -> list[Matched]:
    """Each image's detections, matched with its true objects by their masks."""
    made = []
    for one, maps in zip(found, truth.maps.cpu(), strict=True):
        true = objects(maps)
        made.append(match_by(one, _overlaps(one, true), true["labels"] - 1, kinds, IOU))
    return made


def object_ious(found: Sequence[Found], truth: Instances) -> list[Tensor]:
    """Of each image, the IoU of each true object (M,) with the best mask of its kind; 0 where there is none."""
    made = []
    for one, maps in zip(found, truth.maps.cpu(), strict=True):
        true = objects(maps)
        own = one["labels"][:, None] == true["labels"] - 1
        overlaps = torch.cat((_overlaps(one, true) * own, torch.zeros(1, len(true["labels"]))))
        made.append(overlaps.max(0).values)
    return made


def painted(found: Found) -> Tensor:
    """The kind of each pixel (H, W), from 1 on, of the mask of the best score that it is in; 0 where it is in none.

    >>> masks = torch.tensor([[[[0.9, 0.9, 0.1]]], [[[0.2, 0.8, 0.8]]]])
    >>> painted({"masks": masks, "scores": torch.tensor([0.5, 0.7]), "labels": torch.tensor([0, 3])}).tolist()
    [[1, 4, 4]]
    """
    kinds = torch.zeros(found["masks"].shape[2:], dtype=torch.int64)
    for k in found["scores"].argsort(stable=True).tolist():
        kinds[masks_of(found)[k]] = int(found["labels"][k]) + 1
    return kinds


def kept_pixels(still: Found, moved: Found, by: tuple[int, int]) -> tuple[int, int]:
    """Pixels that are in a mask before or after a shift, and how many of them are of one kind in both, the shift taken back."""
    before, after = painted(still), painted(moved).roll(by, (0, 1))
    some = (before > 0) | (after > 0)
    return int((some & (before == after)).sum()), int(some.sum())
