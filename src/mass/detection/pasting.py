"""Masks and keypoints of boxes, put into the image: everything is computed from a box's own corner, and moved by it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import snap


def paste_masks(masks: Tensor, boxes: Tensor, size: Pair) -> Tensor:
    """Masks of windows as masks of the image, as torchvision pastes them, around its borders.

    Shape: masks (N, 1, M, M), boxes (N, 4) in the image -> (N, 1, H, W).

    A window is enlarged by a pixel of its mask on each side, its corners rounded down to pixels, and its mask interpolated. Where it is
    larger than the image it meets itself; the larger value stays.
    """
    if not len(masks):
        return masks.new_zeros(0, 1, *size)
    enlarged = F.pad(masks, (1, 1, 1, 1))
    scale = enlarged.shape[-1] / masks.shape[-1]
    base = boxes[:, :2].floor()
    first, last = boxes[:, :2] - base, boxes[:, 2:] - base
    half, centre = (last - first) / 2 * scale, (first + last) / 2
    start = (centre - half).floor().long()
    extent = ((centre + half).floor().long() - start + 1).clamp(min=1)
    place = base.long() + start
    pasted, nothing = [], masks.new_zeros(size[0] * size[1])
    for k, ((across, down), (x, y)) in enumerate(zip(extent.tolist(), place.tolist(), strict=True)):
        pixels = F.interpolate(enlarged[k][None], (down, across), mode="bilinear", align_corners=False)[0, 0]
        rows = torch.arange(y, y + down, device=masks.device) % size[0]
        columns = torch.arange(x, x + across, device=masks.device) % size[1]
        index = (rows[:, None] * size[1] + columns).flatten()
        pasted.append(nothing.scatter_reduce(0, index, pixels.flatten(), "amax"))
    return torch.stack(pasted).view(-1, 1, *size)


def place_keypoints(heatmaps: Tensor, boxes: Tensor, size: Pair) -> tuple[Tensor, Tensor]:
    """The peaks of heat maps of windows, as keypoints in the image, which may lie beyond it as their boxes do.

    Shape: heatmaps (N, K, M, M), boxes (N, 4) -> (N, K, 3), the third 1; scores (N, K).
    """
    from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

    extent = boxes[:, 2:] - boxes[:, :2]
    points, scores = heatmaps_to_keypoints(heatmaps.to(boxes.dtype), torch.cat([torch.zeros_like(extent), extent], 1))
    here = snap(points[..., :2].to(boxes.dtype), size) + boxes[:, None, :2]
    return torch.cat([here, points[..., 2:].to(boxes.dtype)], -1), scores
