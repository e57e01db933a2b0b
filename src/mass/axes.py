"""Where positions lie: the axes of signals, images and videos, and each of them seen as a map of rows and columns.

Origins, shifts and borders are those of maps (B, C, H, W). A signal (B, C, L) is a map of one row. A video
(B, C, T, H, W) is a map whose pixels hold the channels of all frames: rows and columns are positions, time is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Pair = tuple[int, int]  # (rows, columns)
Triple = tuple[int, int, int]  # (time, rows, columns)
Dims = tuple[int, ...]

POSITIONS: dict[int, Dims] = {3: (2,), 4: (2, 3), 5: (3, 4)}  # by the rank of a tensor whose channels are axis 1


def times(a: Pair, b: Pair) -> Pair:
    """Product of two pairs, axis by axis.

    >>> times((2, 1), (4, 3))
    (8, 3)
    """
    return a[0] * b[0], a[1] * b[1]


def pair_of(values: int | tuple[int, ...], axes: int, absent: int = 1) -> Pair:
    """What an argument of an operation on so many axes says of rows and columns; `absent`: of rows where there are none.

    >>> pair_of(3, 1), pair_of(3, 2), pair_of((1, 2, 4), 3)
    ((1, 3), (3, 3), (2, 4))
    """
    each = (values,) * axes if isinstance(values, int) else tuple(values)
    rows, columns = (absent, *each)[-2:]
    return rows, columns


def sizes_along(shape: tuple[int, ...], dims: Dims) -> Pair:
    """Height and width of what has this shape; a signal's height is 1."""
    return pair_of(tuple(shape[d] for d in dims), len(dims))


def require_images_first(named: Mapping[str, Any]) -> None:
    """Refuse inputs by name of which a signal comes first and images do later: the first are shifted.

    Raises:
        ValueError: naming both.
    """
    kinds = [
        (name, x)
        for name, x in named.items()
        if isinstance(x, Tensor) and x.is_floating_point() and x.ndim in POSITIONS
    ]
    later = next((name for name, x in kinds[1:] if x.ndim > 3), None)
    if later is not None and kinds[0][1].ndim == 3:
        name, x = kinds[0]
        raise ValueError(
            f"{name!r} {tuple(x.shape)} comes first and would be shifted as a signal, and {later!r} {tuple(named[later].shape)} would stay; "
            f"name the images first (or give a tuple, if the signal is meant)."
        )


def moving_dims(shape: tuple[int, ...], images: tuple[int, ...]) -> Dims | None:
    """The axes of rows and columns of what is given beside images of some shape; None of what stays as they move.

    What has their axes and sizes moves along, a mask say, and so do labels, which lack the axis of channels.

    >>> images = (2, 3, 32, 48)
    >>> moving_dims((2, 1, 32, 48), images), moving_dims((2, 32, 48), images), moving_dims((2, 10), images)
    ((2, 3), (1, 2), None)
    """
    dims = POSITIONS[len(images)]
    if len(shape) == len(images):
        return dims if sizes_along(shape, dims) == sizes_along(images, dims) else None
    return tuple(d - 1 for d in dims) if tuple(shape) == (images[0], *images[2:]) else None


def as_map(x: Tensor, dims: Dims) -> Tensor:
    """(B, …, H, W), rows and columns at any axes, as (B, C, H, W); what has a single axis of positions, as one row.

    >>> import torch
    >>> as_map(torch.rand(2, 3, 8), (2,)).shape, as_map(torch.rand(2, 3, 4, 8, 6), (3, 4)).shape
    (torch.Size([2, 3, 1, 8]), torch.Size([2, 12, 8, 6]))
    """
    last = x.movedim(dims, tuple(range(-len(dims), 0)))
    if x.ndim == 4 and len(dims) == 2:
        return last
    return last.reshape(x.shape[0], -1, *sizes_along(x.shape, dims))


def on_maps(function: Callable[[Tensor], Tensor], x: Tensor, dims: Dims) -> Tensor:
    """`function`, from maps (B, C, H, W) to maps of as many channels, of a tensor whose positions lie at any axes."""
    y = function(as_map(x, dims))
    if x.ndim != 4 or len(dims) != 2:
        others = [size for axis, size in enumerate(x.shape) if axis not in dims]
        y = y.reshape(*others, *y.shape[-len(dims) :])
    return y.movedim(tuple(range(-len(dims), 0)), dims)


def triple_of(value: Any) -> Triple:
    """An int or a triple as a triple (time, rows, columns)."""
    return (value,) * 3 if isinstance(value, int) else tuple(value)
