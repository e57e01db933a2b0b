"""RoIAlign on the torus: windows that reach over the image's side read on at the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import wrapped
from mass.detection.dense import Seen
from mass.errors import NotEquivariantError


def unrolled(y: Tensor, rows: int, columns: int) -> Tensor:
    """A map continued around the image, (…, h, w) -> (…, rows, columns)."""
    down = torch.arange(rows, device=y.device) % y.shape[-2]
    across = torch.arange(columns, device=y.device) % y.shape[-1]
    return y.index_select(-2, down).index_select(-1, across)


def roi_align(features: Tensor, boxes: Tensor, output_size: Pair, size: Pair, sampling_ratio: int = 2) -> Tensor:
    """torchvision's `roi_align` of boxes on one map, which goes on around its borders.

    Args:
        features: (C, h, w), position n at pixel s n of an image of this size; boxes: (R, 4) in its pixels.
        output_size, sampling_ratio: as of `torchvision.ops.roi_align`, whose bilinear samples these are.

    Returns:
        (R, C, *output_size). Needs torchvision.

    >>> columns = torch.arange(8.0).expand(1, 8, 8)
    >>> roi_align(columns, torch.tensor([[7.0, 0.0, 9.0, 2.0]]), (1, 2), (8, 8))     # columns 7 to 9: 7 and, further on, 0 and 1
    tensor([[[[3.5000, 0.5000]]]])
    """
    from torchvision.ops import roi_align as plain

    if features.ndim != 3:
        raise ValueError(f"features must be one map (C, h, w), got {tuple(features.shape)}.")
    boxes = wrapped(boxes, size)
    precise = torch.promote_types(boxes.dtype, features.dtype)  # half precision has no place between 256 and 258
    rows, columns = features.shape[-2:]
    if len(boxes):
        last = (boxes[:, 2:].amax(0) * boxes.new_tensor([columns / size[1], rows / size[0]])).ceil().long() + 3
        columns, rows = last.tolist()
    if size[0] * features.shape[2] != size[1] * features.shape[1]:
        raise ValueError(
            f"a map of {features.shape[1]} x {features.shape[2]} positions has another stride down than across an image of "
            f"{size[0]} x {size[1]}; give a map with one stride."
        )
    scale = features.shape[1] / size[0]
    given = unrolled(features, rows, columns).to(precise)
    return plain(given[None], [boxes.to(precise)], output_size, scale, sampling_ratio).to(features.dtype)


def pooled(pool: Any, seen: Sequence[Seen], boxes: Sequence[Tensor]) -> Tensor:
    """torchvision's `MultiScaleRoIAlign` on the torus: each box on the level of its size (FPN, equation 1).

    Args: boxes: of each image, (R, 4), canonical. Returns: (R of all images, C, *output_size).
    """
    from torchvision.ops.poolers import LevelMapper

    found = []
    for one, own in zip(seen, boxes, strict=True):
        maps = one.maps["features"]
        levels = [
            (y, stride)
            for (name, y), stride in zip(maps.items(), one.strides, strict=True)
            if name in pool.featmap_names
        ]
        if not levels:
            reason = (
                f"the pooling of windows reads levels {list(pool.featmap_names)}, and the backbone gives {list(maps)}"
            )
            raise NotEquivariantError("", reason, "name the backbone's levels in featmap_names")
        first, last = levels[0][1][0], levels[-1][1][0]
        mapper = LevelMapper(first.bit_length() - 1, last.bit_length() - 1, pool.canonical_scale, pool.canonical_level)
        at = mapper([own]) if len(levels) > 1 else torch.zeros(len(own), dtype=torch.int64, device=own.device)
        result = levels[0][0].new_zeros(len(own), levels[0][0].shape[0], *pool.output_size)
        for k, (y, _) in enumerate(levels):
            here = (at == k).nonzero().flatten()
            windows = roi_align(y, own[here], pool.output_size, one.size, pool.sampling_ratio)
            result = result.index_copy(0, here, windows.to(result.dtype))
        found.append(result)
    return torch.cat(found)
