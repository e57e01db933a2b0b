"""Sizes: what a network's total stride divides, and images brought to such a size and back."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mass.axes import POSITIONS
from mass.errors import as_pair, check_batch


def _strides(x: Tensor, model: Any) -> tuple[int, ...]:
    check_batch(x)
    if not hasattr(model, "total_stride"):
        raise TypeError(f"expected a converted network, which knows its total stride, got {type(model).__name__}.")
    return as_pair(model.total_stride, "total_stride")[-len(POSITIONS[x.ndim]) :]


def pad_to(x: Tensor, model: Any, value: float = 0.0) -> Tensor:
    """Images with as many rows below and columns to the right as a converted network's total stride asks for.

    The network is equivariant to circular shifts of what it is given, that is of the padded image; `crop_to` cuts maps
    that it returns to the size of the image.

    Shape: (B, C, H, W), (B, C, T, H, W) or (B, C, L) -> the same with the next sizes that the total stride divides.

    >>> import torch, mass
    >>> model = mass.convert(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 4, 1)), torch.rand(1, 3, 16, 16))
    >>> x = torch.rand(1, 3, 13, 16)
    >>> y = model(pad_to(x, model))
    >>> y.shape, crop_to(y, x, model).shape
    (torch.Size([1, 4, 4, 4]), torch.Size([1, 4, 4, 4]))
    """
    strides = _strides(x, model)
    more = [-x.shape[axis] % stride for axis, stride in enumerate(strides, x.ndim - len(strides))]
    return F.pad(x, [amount for m in reversed(more) for amount in (0, m)], value=value) if any(more) else x


def crop_to(y: Tensor, x: Tensor, model: Any) -> Tensor:
    """The first rows and columns of a map, computed from `pad_to(x, model)`: as many as the size of `x` takes of the padded one.

    A map at the image's size, or a finer one, shows `x` and nothing else then. A coarser one of stride S begins at an origin O of
    each image, which this function does not know: position n shows the rows from O + S n on, modulo the padded size. So rows
    of `x` before O are shown by the last positions, which are cropped with the padding. Where that matters, keep the whole map
    and ask `mass.output_origins` and `mass.to_pixels` where its positions lie.

    Shape: y, a map at the padded image's size, or that times or divided by whole numbers; its last axes are cropped.

    Raises:
        ValueError: for a map of another size.

    >>> import torch, mass
    >>> model = mass.convert(torch.nn.Conv2d(3, 4, 3, 4, 1).eval(), torch.rand(1, 3, 16, 16))
    >>> x = torch.rand(1, 3, 9, 16)
    >>> crop_to(model(pad_to(x, model)), x, model).shape
    torch.Size([1, 4, 3, 4])
    """
    strides = _strides(x, model)
    if y.ndim < len(strides) + 1:
        raise ValueError(
            f"{tuple(y.shape)} has no rows and columns to be cropped; logits of a padded image are as they are."
        )
    for axis, stride in enumerate(strides, -len(strides)):
        size = x.shape[axis]
        padded = size + -size % stride
        if y.shape[axis] % padded and padded % y.shape[axis]:
            raise ValueError(
                f"axis {axis} of a map {tuple(y.shape)} is neither a multiple nor a divisor of {padded}, what an image of size {size} is "
                f"padded to; give what the model returned for pad_to(x, model)."
            )
        y = y.narrow(axis, 0, -(-size * y.shape[axis] // padded))
    return y
