"""Circularity: the border that a shift does not move (paper, section 4.3, modification 1).

Zero padding marks the border of the image, and 'valid' operations lose it; both see where the image was cut. Here
every windowed operation of stride s reads past the border by wrapping, and gives exactly H / s outputs: output n
reads positions s n - p, …, s n - p + d (k - 1) modulo H, with p the original padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mass import native
from mass.axes import Pair
from mass.errors import as_pair, check_origin
from mass.functional.derivatives import takes_derivatives
from mass.functional.shift import move, shift

Sizes = int | tuple[int, ...]  # an int or a pair, as torch's modules keep it


def wrap(kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1, before: int = 0) -> tuple[int, int]:
    """How far one axis of a windowed operation wraps (before, after) for H / stride outputs; negative: cropped.

    `before`: rows that were padded in front of the operation, as part of it.

    >>> wrap(kernel=3, padding=1), wrap(kernel=7, stride=2, padding=3), wrap(kernel=1, stride=2)
    ((1, 1), (3, 2), (0, 0))
    """
    reach = dilation * (kernel - 1)
    in_front = before + (padding if isinstance(padding, int) else reach // 2 if padding == "same" else 0)
    after = reach + 1 - stride - in_front
    return in_front, after if in_front else max(after, 0)


def window_pads(
    kernel: Sizes, stride: Sizes, padding: Sizes | str, dilation: Sizes = 1, before: Pair = (0, 0)
) -> tuple[int, int, int, int]:
    """How far a windowed operation wraps around the borders of a map for H / stride x W / stride outputs: (left, right, top, bottom).

    Each argument is an int or a pair (rows, columns), `padding` also 'same' or 'valid'; a negative number crops.

    >>> window_pads(3, 1, 1), window_pads((3, 7), 2, (1, 3))
    ((1, 1, 1, 1), (3, 2, 1, 0))
    """
    sizes, steps, reach = as_pair(kernel, "kernel_size"), as_pair(stride, "stride"), as_pair(dilation, "dilation")
    pads = (padding, padding) if isinstance(padding, int | str) else padding
    return (
        *wrap(sizes[1], steps[1], pads[1], reach[1], before[1]),
        *wrap(sizes[0], steps[0], pads[0], reach[0], before[0]),
    )


def is_channels_last(x: Tensor) -> bool:
    """Whether a map's channels lie together in memory, pixel by pixel, and not channel by channel."""
    return not x.is_contiguous() and x.permute(0, 2, 3, 1).is_contiguous()  # vmap knows no memory format


def laid_out_as(x: Tensor, out: Tensor) -> Tensor:
    """`out` in the memory format of `x`."""
    return out.contiguous(memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format)


def empty_map(x: Tensor, height: int, width: int) -> Tensor:
    """An uninitialised map of this size, else like `x`, in its memory format."""
    like = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return torch.empty((*x.shape[:2], height, width), dtype=x.dtype, device=x.device, memory_format=like)


def _wrap(x: Tensor, left: int, right: int, top: int, bottom: int, origin: Tensor | None = None) -> Tensor:
    wrapped = native.wrap(x, (left, right, top, bottom), origin)
    if wrapped is not None:
        return wrapped
    x = x if origin is None else move(x, origin)
    height, width = x.shape[2:]
    out = _wrap_fake(x, left, right, top, bottom, None)
    rows, columns = slice(top, top + height), slice(left, left + width)
    out[:, :, rows, columns] = x
    out[:, :, :top, columns] = x[:, :, height - top :]
    out[:, :, top + height :, columns] = x[:, :, :bottom]
    out[:, :, :, :left] = out[:, :, :, width : width + left]
    out[:, :, :, left + width :] = out[:, :, :, left : left + right]
    return out


# F.pad's circular mode drops channels_last: a copy to bring it back, and another on the way back.
_pad = torch.library.custom_op("mass::circular_pad", _wrap, mutates_args=())


@_pad.register_fake
def _wrap_fake(x: Tensor, left: int, right: int, top: int, bottom: int, origin: Tensor | None = None) -> Tensor:
    return empty_map(x, top + x.shape[2] + bottom, left + x.shape[3] + right)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.pads = inputs[1:5]
    ctx.save_for_backward(*inputs[5:])


def _unwrap(grad: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
    """The gradient of a map from that of its wrapped self: what was read twice adds up."""
    left, right, top, bottom = pads
    height, width = grad.shape[2] - top - bottom, grad.shape[3] - left - right
    rows = grad[:, :, top : top + height].clone()
    rows[:, :, height - top :] += grad[:, :, :top]
    rows[:, :, :bottom] += grad[:, :, top + height :]
    out = rows[..., left : left + width].clone()
    out[..., width - left :] += rows[..., :left]
    out[..., :right] += rows[..., left + width :]
    return out


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (origin,) = ctx.saved_tensors
    out = _unwrap(grad, ctx.pads)
    return out if origin is None else shift(out, -origin), None, None, None, None, None


_pad.register_autograd(_backward, setup_context=_setup_context)


class _Indexed(torch.autograd.Function):
    """The same as reads at computed places, for compilers: they make them part of what wrote the map."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None, step: tuple[int, int]
    ) -> Tensor:
        left, right, top, bottom = pads
        rows, columns = range(-top, x.shape[2] + bottom), range(-left, x.shape[3] + right)
        ctx.pads, ctx.origin, ctx.step = pads, origin, step
        ctx.read = *x.shape[:2], len(rows), len(columns)
        return read_around(x, rows[:: step[0]], columns[:: step[1]], origin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.step != (1, 1):  # nothing was read between the steps
            sampled, grad = grad, torch.zeros(ctx.read, dtype=grad.dtype, device=grad.device)
            grad[:, :, :: ctx.step[0], :: ctx.step[1]] = sampled
        out = _unwrap(grad, ctx.pads)
        if ctx.origin is not None:
            out = read_around(out, range(out.shape[2]), range(out.shape[3]), -ctx.origin)
        return out, None, None, None


def read_around(x: Tensor, rows: range, columns: range, origin: Tensor | None) -> Tensor:
    """These rows and columns, negative ones too, of a map that repeats itself, as seen from its origin, in its memory format.

    For compilers: places that can be computed (nowhere negative, no tensor among them) become part of a read's address;
    those that an origin (of less than 2^31) moves are computed in int32, for a remainder of int64 takes a GPU longer than the read.
    """
    places: list[Tensor | None] = [None]  # all images
    if origin is not None:
        images = torch.arange(0, x.shape[0], 1, device=x.device)  # of a range torch.export would fix the end
        places = [images.view(-1, 1, 1)]
    for axis, read in enumerate((rows, columns)):
        size = x.shape[2 + axis]
        start = read.start % size
        place = torch.arange(start, start + read.stop - read.start, read.step, device=x.device) % size
        place = place.view(-1, 1) if axis == 0 else place
        if origin is not None:
            moved = place.int() + (origin[:, axis].int() % size).view(-1, 1, 1)
            place = torch.where(moved >= size, moved - size, moved).long()
        places.append(place)
    if is_channels_last(x):
        return torch.ops.aten._unsafe_index(x.permute(0, 2, 3, 1), places).permute(0, 3, 1, 2)
    if origin is None:
        return torch.ops.aten._unsafe_index(x, [None, *places])
    image, row, column = (place.unsqueeze(1) for place in places if place is not None)
    channel = torch.arange(x.shape[1], device=x.device).view(-1, 1, 1)
    return torch.ops.aten._unsafe_index(x, [image, channel, row, column])


@_pad.register_vmap
def _(info: Any, in_dims: Any, x: Tensor, *arguments: Any) -> tuple[Tensor, int]:
    pads, origin = arguments[:4], arguments[4] if len(arguments) > 4 else None
    x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x.expand(info.batch_size, *x.shape)
    if origin is not None:
        axis = in_dims[5]
        origin = (origin.expand(len(x), *origin.shape) if axis is None else origin.movedim(axis, 0)).flatten(0, 1)
    return _pad(x.flatten(0, 1), *pads, origin).unflatten(0, x.shape[:2]), 0


def circular_pad(x: Tensor, pad: tuple[int, int, int, int], origin: Tensor | None = None) -> Tensor:
    """Wrap a map around its borders, by any amount, more than once if need be; a negative amount crops.

    With an origin the map is moved to it first (`mass.shift`), in the same copy.

    Shape: x (B, C, H, W), pad = (left, right, top, bottom) as `torch.nn.functional.pad` orders it, origin (B, 2) int64
    -> (B, C, top + H + bottom, left + W + right), in the memory format of `x`.

    >>> circular_pad(torch.tensor([[[[1., 2.]]]]), (3, 2, 0, 0)).flatten()
    tensor([2., 1., 2., 1., 2., 1., 2.])
    """
    origin = None if origin is None else check_origin(origin, x)
    if not any(pad):
        return x if origin is None else shift(x, origin)
    left, right, top, bottom = pad
    height, width = x.shape[-2:]
    unobserved = native.unobserved(x, origin)
    if unobserved and (wrapped := native.wrap(x, pad, origin)) is not None:
        return wrapped
    narrow = min(pad) >= 0 and max(left, right) <= width and max(top, bottom) <= height
    if narrow and unobserved:  # the first call of an operator imports the compiler, which takes seconds
        return _wrap(x, left, right, top, bottom, origin)
    if narrow and not takes_derivatives():
        by_places = torch.compiler.is_compiling() and not native.called_when_compiled(x)
        return _Indexed.apply(x, pad, origin, (1, 1)) if by_places else _pad(x, *pad, origin)
    x = x if origin is None else shift(x, origin)
    rows = torch.arange(-top, height + bottom, device=x.device) % height
    columns = torch.arange(-left, width + right, device=x.device) % width
    padded = x.index_select(2, rows).index_select(3, columns)
    return padded.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if is_channels_last(x) else padded


def sample(x: Tensor, stride: tuple[int, int], origin: Tensor) -> Tensor:
    """Every stride-th row and column of a map, from its origin on: `shift(x, origin)[:, :, ::s, ::s]`, and no more is copied.

    For compilers, and where no gradient is recorded.

    Shape: x (B, C, H, W), origin (B, 2) int64 -> (B, C, H / s, W / s), in the memory format of `x`.

    >>> sample(torch.arange(4.).view(1, 1, 1, 4), (1, 2), torch.tensor([[0, 3]])).flatten()
    tensor([3., 1.])
    """
    pads, origin = (0, 0, 0, 0), check_origin(origin, x)
    if torch.compiler.is_compiling():
        return _Indexed.apply(x, pads, origin, stride)
    sampled = native.wrap(x, pads, origin, stride)
    if sampled is not None:
        return sampled
    return read_around(x, range(x.shape[2])[:: stride[0]], range(x.shape[3])[:: stride[1]], origin)


def wrap_frames(x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None) -> Tensor:
    """All frames moved to their origin and wrapped: (B, C, T, H, W) -> (B, C, T, top + H + bottom, left + W + right)."""
    if origin is None and not any(pads):
        return x
    return circular_pad(x.flatten(1, 2), pads, origin).unflatten(1, x.shape[1:3])
