"""At the door: why a converted network cannot take an input, in words of the input and not of the operation that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mass.axes import POSITIONS, Pair
from mass.errors import sizes_that_do


@dataclass(frozen=True)
class OnlySize:
    """The one size of images that a network was found to hold for, all axes behind the channels, and what it is not at another."""

    size: tuple[int, ...]
    reason: str

    def require(self, x: Any) -> None:
        """Refuse an input of another size."""
        if not isinstance(x, Tensor) or x.ndim not in POSITIONS:
            return
        if tuple(x.shape[2:]) != self.size:
            held, found = (" x ".join(map(str, size)) for size in (self.size, x.shape[2:]))
            raise ValueError(
                f"this network holds for inputs of {held} alone, the size that it was converted with, got "
                f"{found}: {self.reason}; convert the model with an example of the size that it is used at."
            )


def why_not(x: Any, example: tuple[int, ...], total_stride: Pair, dtype: torch.dtype | None = None) -> str:
    """What is wrong with an input, where something is; asked when a network failed on it.

    Args:
        x: its first input; example: the shape of the first input that it was converted with; dtype: of its parameters.

    >>> why_not(torch.rand(1, 3, 225, 224), (2, 3, 64, 64), (32, 32))
    'height 225 of the input is not a multiple of the total stride 32; 224 or 256 would do, see mass.pad_to'
    >>> why_not(torch.rand(1, 4, 224, 224), (2, 3, 64, 64), (32, 32))
    'the input has 4 channels, and had 3 when the network was converted'
    """
    if not isinstance(x, Tensor):
        return f"expected a tensor of shape {_shape(example)}, got {type(x).__name__}"
    if x.ndim != len(example):
        hint = "; add the batch axis with x[None]" if x.ndim == len(example) - 1 else ""
        return f"expected a batch of shape {_shape(example)}, got {x.ndim} axes, {tuple(x.shape)}{hint}"
    if not x.is_floating_point():
        return f"expected floating-point values, got {x.dtype}; convert with x.float()"
    if x.shape[1] != example[1]:
        return f"the input has {x.shape[1]} channels, and had {example[1]} when the network was converted"
    axes = POSITIONS[x.ndim]
    names = ("height", "width") if len(axes) > 1 else ("length",)
    for name, axis, stride in zip(names, axes, total_stride[-len(axes) :], strict=True):
        if x.shape[axis] % stride or not x.shape[axis]:
            would = sizes_that_do(x.shape[axis], stride)
            return f"{name} {x.shape[axis]} of the input is not a multiple of the total stride {stride}; {would} would do, see mass.pad_to"
    if dtype is not None and x.dtype != dtype:
        return f"the input is {x.dtype} and the network's parameters are {dtype}; give it x.to({dtype})"
    return ""


def other_size(x: Tensor, example: tuple[int, ...]) -> str:
    """That an input is not of the example's size, where it is not; asked when PyTorch itself failed on it.

    >>> other_size(torch.rand(1, 3, 32, 32), (2, 3, 16, 16))
    'the network does not run on inputs of 32 x 32, and was converted with 16 x 16; convert it with an example of the size that it is used at'
    """
    if x.shape[2:] == example[2:]:
        return ""
    held, found = (" x ".join(map(str, shape[2:])) for shape in (example, x.shape))
    remedy = "convert it with an example of the size that it is used at"
    return f"the network does not run on inputs of {found}, and was converted with {held}; {remedy}"


def _shape(example: tuple[int, ...]) -> str:
    sizes = {3: "L", 4: "H, W", 5: "T, H, W"}[len(example)]
    return f"(B, {example[1]}, {sizes})"
