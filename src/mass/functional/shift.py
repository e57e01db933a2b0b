"""Circular shifts by an origin per image, and back (paper, section 3, eq. 1).

    shift(x, o)[b, c, n, m] = x[b, c, (n + o[b, 0]) mod H, (m + o[b, 1]) mod W]
    restore(shift(x, o), o) == x

One `torch.library` operator serves both: it copies (the memory format of `x` is kept), its backward pass is the
opposite shift, and it has fake and vmap rules, so `torch.compile` and `torch.vmap` see one opaque node.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mass import native
from mass.axes import POSITIONS, on_maps
from mass.errors import check_batch, check_map, check_origin
from mass.functional.derivatives import takes_derivatives


def gather(x: Tensor, origin: Tensor) -> Tensor:
    """A shift in plain PyTorch: one gather over the batch."""
    batch, channels, height, width = x.shape
    rows = (torch.arange(height, device=x.device) + origin[:, :1]) % height  # (B, H)
    columns = (torch.arange(width, device=x.device) + origin[:, 1:]) % width  # (B, W)
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H * W)
    if not x.is_contiguous() and x.permute(0, 2, 3, 1).is_contiguous():  # channels last: vmap knows no memory format
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        pixels = pixels.gather(1, index[:, :, None].expand(-1, -1, channels))
        return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)
    out = x.flatten(2).gather(2, index[:, None].expand(-1, channels, -1)).view(x.shape)
    return out if x.is_contiguous() else torch.empty_like(x).copy_(out)


def move(x: Tensor, origin: Tensor) -> Tensor:
    """What the operator computes."""
    moved = native.wrap(x, (0, 0, 0, 0), origin)
    return gather(x, origin) if moved is None else moved


_shift = torch.library.custom_op("mass::shift", move, mutates_args=())


@_shift.register_fake
def _(x: Tensor, origin: Tensor) -> Tensor:
    return torch.empty_like(x)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return _shift(grad, -ctx.saved_tensors[0]), None


_shift.register_autograd(_backward, setup_context=_setup_context)


@_shift.register_vmap
def _(info: Any, in_dims: Any, x: Tensor, origin: Tensor) -> tuple[Tensor, int]:
    x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x.expand(info.batch_size, *x.shape)
    origin = origin.movedim(in_dims[1], 0) if in_dims[1] is not None else origin.expand(info.batch_size, *origin.shape)
    return _shift(x.flatten(0, 1), origin.flatten(0, 1)).unflatten(0, x.shape[:2]), 0


def _check(x: Tensor, origin: Tensor) -> Tensor:
    (check_batch if isinstance(x, Tensor) and x.ndim == 5 else check_map)(x)
    return check_origin(origin, x)


def shift(x: Tensor, origin: Tensor) -> Tensor:
    """Move each image's origin to position (0, 0), circularly (paper, eq. 1).

    Shape:
        x (B, C, H, W), floating point; origin (B, 2) or (2,), int64, read modulo (H, W), any but -2^63
        -> (B, C, H, W), a copy in the memory format of `x`.
        So for videos (B, C, T, H, W), all frames alike.

    Raises:
        TypeError, ValueError: for another rank, an integer map, an empty batch, an origin of another shape or dtype.

    >>> shift(torch.arange(4.).view(1, 1, 1, 4), torch.tensor([[0, 1]])).flatten()
    tensor([1., 2., 3., 0.])
    """
    origin = _check(x, origin)
    if x.ndim != 4:
        return on_maps(lambda maps: shift(maps, origin), x, POSITIONS[x.ndim])
    if native.unobserved(x, origin):
        return move(x, origin)
    return gather(x, origin) if takes_derivatives() else _shift(x, origin)


def restore(x: Tensor, origin: Tensor) -> Tensor:
    """Undo `shift` by the same origin: `restore(shift(x, o), o) == x`.

    Shape and errors: as `shift`.

    >>> x = torch.arange(4.).view(1, 1, 1, 4)
    >>> torch.equal(restore(shift(x, torch.tensor([[0, 3]])), torch.tensor([[0, 3]])), x)
    True
    """
    return shift(x, -_check(x, origin))
