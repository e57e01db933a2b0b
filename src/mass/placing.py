"""Ordinary shifts made circular: the image on a larger canvas, where nothing leaves and nothing comes in.

An object that moves before a plain ground does not return on the other side of the image; but it need not, as long as it
stays inside. On a canvas of the ground's colour its ordinary shift *is* a circular shift of the canvas (the paper's section 3
has zero padding and circular shifts as two cases), and a converted network's answer is exact for it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from mass.axes import Pair
from mass.errors import as_pair, check_map
from mass.functional.exact import exact_mean

FILLS = ("border", "mean", "reflect")


def canvas(
    x: Tensor, size: int | Pair, fill: str | float | Sequence[float] = "border", at: Pair | None = None
) -> Tensor:
    """Images on a larger canvas that has one ground.

    Two shifts of an image's content become circular shifts of the canvas, bit-identical ones:

    * where the image is put, whatever it shows and by whatever fill: `canvas(x, size, fill, b)` is `canvas(x, size, fill, a)`
      moved by b - a;
    * where the content is in the image, if all around it is the fill's colour (a value that is known, or 'border') and it
      stays within the image.

    It ends where content enters or leaves the image, and where the ground is not plain: a photograph that slides on behind
    its window shows something else afterwards, and no network is exact for that.

    Args:
        x: images, floating point, as the network takes them (normalised, say).
        size: of the canvas, rows and columns or one for both, at least the image's; a converted network asks for multiples of
            its total stride.
        fill: the ground: 'border', the median of the image's outermost pixels, channel by channel (the colour of a plain
            ground, also where some content touches the border); 'mean', the image's own mean (bit-identical wherever content
            is in it); 'reflect', the image mirrored at its borders, half of the gap from each side; or a value, or a
            value for each channel.
        at: the canvas' row and column for the image's first pixel, taken modulo the canvas; None: in the middle.

    Shape: (B, C, H, W) -> (B, C, size, size), dtype and device of `x`.

    Raises:
        ValueError: for a canvas smaller than the image, an unknown fill, values that are not as many as channels.
        TypeError: for what is no map of floating-point values, a fill of another type, an `at` that is no pair of ints.

    >>> x = torch.zeros(1, 1, 4, 4)
    >>> x[..., 1, 1] = 1.0
    >>> moved = x.roll((1, 1), (2, 3))  # within the image
    >>> torch.equal(canvas(moved, 8), canvas(x, 8).roll((1, 1), (2, 3)))
    True
    """
    check_map(x)
    size = as_pair(size, "size")
    height, width = x.shape[2:]
    if size[0] < height or size[1] < width:
        raise ValueError(f"a canvas of {size[0]} x {size[1]} is smaller than the image, {height} x {width}.")
    if isinstance(fill, str) and fill == "reflect":
        rows, columns = (_mirrored(n, whole, x.device) for n, whole in zip((height, width), size, strict=True))
        spread = x.index_select(2, rows).index_select(3, columns)
    else:
        spread = _ground(x, fill).expand(*x.shape[:2], *size).clone()
        spread[:, :, :height, :width] = x
    first = ((size[0] - height) // 2, (size[1] - width) // 2) if at is None else at
    if not isinstance(first, Sequence) or len(first) != 2:
        raise TypeError(f"at must be a pair (row, column) or None, got {at!r}.")
    try:
        place = operator.index(first[0]), operator.index(first[1])
    except TypeError as error:
        raise TypeError(f"at must be a pair of ints, whole pixels, got {at!r}.") from error
    return spread.roll(place, (2, 3))


def _ground(x: Tensor, fill: str | float | Sequence[float]) -> Tensor:
    """The colour behind each image, (B or 1, C, 1, 1)."""
    if isinstance(fill, str):
        if fill not in FILLS:
            raise ValueError(f"unknown fill {fill!r}; choose one of {', '.join(FILLS)}, or give values.")
        return exact_mean(x, keepdim=True) if fill == "mean" else _border(x).median(2).values[..., None, None]
    if not isinstance(fill, int | float | Sequence | Tensor):
        raise TypeError(f"fill must be one of {', '.join(FILLS)}, a value or a value for each channel, got {fill!r}.")
    values = [float(fill)] * x.shape[1] if isinstance(fill, int | float) else [float(value) for value in fill]
    if len(values) != x.shape[1]:
        raise ValueError(f"fill must be one value or one for each of {x.shape[1]} channels, got {len(values)}.")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"fill must be finite, got {fill!r}.")
    return torch.tensor(values, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)


def _border(x: Tensor) -> Tensor:
    """The outermost pixels, (B, C, 2 H + 2 W), corners twice."""
    return torch.cat((x[:, :, 0], x[:, :, -1], x[..., 0], x[..., -1]), 2)


def _mirrored(n: int, whole: int, device: torch.device) -> Tensor:
    """Which of n rows each row of a canvas shows: all of them, then on from the last one back, and up to the first."""
    place = torch.arange(whole, device=device)
    place = torch.where(
        place < n + (whole - n + 1) // 2, place, whole - place
    )  # how far behind, or ahead of, the first
    there_and_back = place % max(2 * n - 2, 1)
    return torch.where(there_and_back < n, there_and_back, 2 * n - 2 - there_and_back)
