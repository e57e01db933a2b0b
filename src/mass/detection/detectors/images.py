"""What a detector is given: images of one or of several sizes, and what is to be found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import check_boxes
from mass.errors import sizes_that_do


def check_images(images: Any, stride: Pair, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Images as a list of (C, H, W).

    Raises:
        TypeError, ValueError: one sentence for what is no image, of another device or dtype, or of a size that will not do.
    """
    found = list(images) if isinstance(images, Sequence | Tensor) and not isinstance(images, str) else []
    if not found:
        got = "none" if isinstance(images, Sequence | Tensor) else type(images).__name__
        raise ValueError(f"expected images, a list of tensors (C, H, W) or a batch (B, C, H, W), got {got}.")
    for k, image in enumerate(found):
        name = f"images[{k}]"
        if not isinstance(image, Tensor):
            raise TypeError(f"{name} must be a tensor (C, H, W), got {type(image).__name__}.")
        if image.ndim != 3:
            hint = "; for a single image give a list of it, [image]" if image.ndim == 2 else ""
            raise ValueError(f"{name} must have shape (C, H, W), got {tuple(image.shape)}{hint}.")
        if not image.is_floating_point():
            raise TypeError(
                f"{name} must be floating-point, in [0, 1], got {image.dtype}; convert with image.float() / 255."
            )
        if image.device != device:
            raise ValueError(f"{name} is on {image.device}, and the detector on {device}; move one of them.")
        if image.dtype != dtype and not torch.is_autocast_enabled(device.type):
            raise TypeError(f"{name} is {image.dtype}, and the detector {dtype}; convert one of them.")
        for axis, n, s in zip(("height", "width"), image.shape[1:], stride, strict=True):
            if n % s or not n:
                raise ValueError(
                    f"{name} has {axis} {n}, which the detector's total stride {s} does not divide: {sizes_that_do(n, s)} "
                    "would do. Images are taken at the size they have, for resizing commutes with no shift."
                )
    return found


def by_size(images: Sequence[Tensor]) -> list[list[int]]:
    """Which images can be one batch: their indices, size by size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(k)
    return list(groups.values())


def check_targets(targets: Any, images: Sequence[Tensor], needed: Sequence[str]) -> list[dict[str, Tensor]]:
    """Targets of training, one dict an image.

    Raises:
        TypeError, ValueError: one sentence for what lacks, and for boxes that are none.
    """
    if targets is None:
        raise ValueError("targets are needed in training mode: one dict of boxes and labels an image.")
    if not isinstance(targets, Sequence) or len(targets) != len(images):
        got = len(targets) if isinstance(targets, Sequence) else type(targets).__name__
        raise ValueError(f"targets must be a list of {len(images)} dicts, one an image, got {got}.")
    for k, (target, image) in enumerate(zip(targets, images, strict=True)):
        if not isinstance(target, Mapping):
            raise TypeError(f"targets[{k}] must be a dict, got {type(target).__name__}.")
        for name in needed:
            if not isinstance(target.get(name), Tensor):
                raise TypeError(f"targets[{k}] has no tensor '{name}'; this detector learns from {', '.join(needed)}.")
            if target[name].device != image.device:
                raise ValueError(
                    f"targets[{k}]['{name}'] is on {target[name].device}, and its image on {image.device}."
                )
            if len(target[name]) != len(target["boxes"]):
                raise ValueError(f"targets[{k}]: {len(target['boxes'])} boxes, and {len(target[name])} {name}.")
        size = image.shape[1], image.shape[2]
        _check_target_boxes(f"targets[{k}]['boxes']", target["boxes"], size)
        if "masks" in needed and target["masks"].shape[1:] != size:
            raise ValueError(
                f"targets[{k}]['masks'] must be (N, {size[0]}, {size[1]}), of its image's size, got {tuple(target['masks'].shape)}; "
                "pad them as the image."
            )
        if "keypoints" in needed and (target["keypoints"].ndim, target["keypoints"].shape[-1]) != (3, 3):
            raise ValueError(
                f"targets[{k}]['keypoints'] must be (N, K, 3), x, y and visibility, got {tuple(target['keypoints'].shape)}."
            )
        if target["labels"].dtype != torch.int64:
            raise TypeError(f"targets[{k}]['labels'] must be int64, got {target['labels'].dtype}.")
    return [dict(target) for target in targets]


def _check_target_boxes(name: str, boxes: Tensor, size: Pair) -> None:
    check_boxes(boxes, name)
    for what, wrong in (
        ("has no area", (boxes[:, 2:] <= boxes[:, :2]).any(1)),
        (
            f"begins outside the image {size[0]} x {size[1]}; mass.detection.wrap brings it in",
            ((boxes[:, :2] < 0) | (boxes[:, :2] >= boxes.new_tensor([size[1], size[0]]))).any(1),
        ),
        (
            f"is larger than the image {size[0]} x {size[1]}",
            (boxes[:, 2:] - boxes[:, :2] > boxes.new_tensor([size[1], size[0]])).any(1),
        ),
    ):
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(f"{name}[{row}] = {boxes[row].tolist()} {what}.")
