"""Going back up: interpolation that commutes with circular shifts (paper, section 4.4).

Sample n of a map enlarged by r lies at (n + 1/2) / r - 1/2 of the coarse map (half-pixel centres; with
`align_corners=True` the distance of samples depends on the size, and no shift of the coarse map moves the fine one).
Weights depend on n mod r alone, so each of the r phases is one sum of shifted maps, computed alike at all positions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .axes import Dims, on_maps
from .layout import layout_hash
from .reduce import power_of_two_scale

MODES = ("nearest", "bilinear", "bicubic")


def _taps(place: float, mode: str) -> list[tuple[int, float]]:
    """(offset, weight) of the samples that make the value at a place between them, along one axis."""
    left = math.floor(place)
    t = place - left
    if mode == "bilinear":
        return [(left, 1 - t), (left + 1, t)] if t else [(left, 1.0)]
    a = -0.75  # the constant of torch's bicubic (Keys, 1981)

    def near(d: float) -> float:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: float) -> float:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(left - 1, far(1 + t)), (left, near(t)), (left + 1, near(1 - t)), (left + 2, far(2 - t))]


def upsample(x: Tensor, factor: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Enlarge a map by integer factors, circularly, with half-pixel centres.

    Shape: (B, C, H, W) -> (B, C, factor[0] * H, factor[1] * W).

    >>> upsample(torch.tensor([[[[0., 4.]]]]), (1, 2)).flatten()
    tensor([1., 1., 3., 3.])
    """
    for axis, r in zip((2, 3), factor, strict=True):
        if r == 1:
            continue
        if x.shape[axis] == 1:  # weights add up to one, but not when they are rounded
            x = x.repeat_interleave(r, axis)
            continue
        phases = []
        for phase in range(r):
            taps = [(0, 1.0)] if mode == "nearest" else _taps((2 * phase + 1 - r) / (2 * r), mode)
            terms = [x.roll(-offset, axis) * weight for offset, weight in taps]
            phases.append(sum(terms[1:], start=terms[0]))
        x = torch.stack(phases, axis + 1).flatten(axis, axis + 1)
    return x


def downsample(x: Tensor, factor: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Interpolate a map to a size that integers divide, circularly, with half-pixel centres and no anti-aliasing.

    Shape: (B, C, H, W) -> (B, C, H / factor[0], W / factor[1]).

    >>> downsample(torch.tensor([[[[1., 3., 5., 7.]]]]), (1, 2)).flatten()
    tensor([2., 6.])
    """
    for axis, r in zip((2, 3), factor, strict=True):
        taps = [(0, 1.0)] if mode == "nearest" or r == 1 else _taps((r - 1) / 2, mode)
        terms = [x.roll(-offset, axis) * weight if offset or weight != 1 else x for offset, weight in taps]
        x = sum(terms[1:], start=terms[0])
        x = x[:, :, ::r] if axis == 2 else x[..., ::r]
    return x.contiguous()


class CircularDownsample(nn.Module):
    """`downsample` as a module."""

    def __init__(self, factor: tuple[int, int], mode: str) -> None:
        super().__init__()
        self.factor, self.mode = factor, mode

    def forward(self, x: Tensor) -> Tensor:
        return downsample(x, self.factor, self.mode)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, mode={self.mode!r}"


class CircularUpsample(nn.Module):
    """`upsample` as a module: what `nn.Upsample` and `F.interpolate` become in a converted network.

    With a `size` the factor follows from it, else it is the example's.
    """

    def __init__(self, factor: tuple[int, int], mode: str) -> None:
        super().__init__()
        self.factor, self.mode = factor, mode

    def forward(self, x: Tensor, size: Any = None) -> Tensor:
        if size is None:
            return upsample(x, self.factor, self.mode)
        rows, columns = (size, size) if isinstance(size, int) else size
        if rows % x.shape[2] or columns % x.shape[3]:
            raise ValueError(
                f"interpolation from {tuple(x.shape[2:])} to {(rows, columns)} is not by an integer factor at this size."
            )
        return upsample(x, (rows // x.shape[2], columns // x.shape[3]), self.mode)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, mode={self.mode!r}"


@torch.library.custom_op("mass::symmetrise", mutates_args=())
def _symmetrise(y: Tensor, source: Tensor) -> Tensor:
    _, channels, height, width = y.shape
    layout, order = layout_hash(source).flatten(1).sort(1)  # equal hashes: positions that a symmetry of the input joins
    fresh = torch.zeros_like(layout)
    fresh[:, 1:] = layout[:, 1:] != layout[:, :-1]
    orbit = torch.empty_like(order).scatter_(1, order, fresh.cumsum(1))  # (B, H * W)
    index = orbit[:, None].expand(-1, channels, -1)
    values = y.flatten(2)
    scale = power_of_two_scale(values.abs().amax((1, 2), keepdim=True), 52 - math.ceil(math.log2(height * width)))
    exact = values.double().mul(scale).round_()
    total = torch.zeros_like(exact).scatter_add_(2, index, exact)
    size = torch.zeros_like(exact[:, :1]).scatter_add_(2, orbit[:, None], torch.ones_like(exact[:, :1]))
    return (total / scale / size.clamp(min=1)).gather(2, index).to(y.dtype).view_as(y)


@_symmetrise.register_fake
def _(y: Tensor, source: Tensor) -> Tensor:
    return torch.empty_like(y, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return _symmetrise(grad, ctx.saved_tensors[0]), None


_symmetrise.register_autograd(_backward, setup_context=_setup_context)


class Symmetrise(nn.Module):
    """Average a dense output over the translation symmetries of the input (frame averaging, Puny et al., 2022).

    If a shift g leaves the input unchanged and is no multiple of the total stride, no choice of origins can be
    equivariant (Curie's principle): the choice is one of several that differ by g. Their mean is equivariant.
    For an input without such a symmetry nothing changes but the last rounding.
    """

    def __init__(self, dims: Dims = (2, 3)) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, y: Tensor, source: Tensor) -> Tensor:
        return on_maps(lambda maps: _symmetrise(maps, source), y, self.dims)
