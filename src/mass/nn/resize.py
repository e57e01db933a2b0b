"""What interpolation becomes in a converted network, for images, signals and videos."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Dims, Pair, on_maps, pair_of, triple_of
from mass.functional.interpolate import downsample, upsample


class CircularDownsample(nn.Module):
    """`downsample` as a module.

    Args:
        factor: of rows and of columns.
        mode: as `torch.nn.functional.interpolate`.
        size: that it gives, where the model names one: maps of another size would need another factor, and are refused.

    Shape: (B, C, H, W) -> (B, C, H / factor, W / factor).

    >>> CircularDownsample((2, 2), "nearest")(torch.rand(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(self, factor: Pair, mode: str, size: Pair | None = None) -> None:
        super().__init__()
        self.factor, self.mode, self.size = factor, mode, size

    def forward(self, x: Tensor) -> Tensor:
        return _of_size(downsample(x, self.factor, self.mode), self.size)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, mode={self.mode!r}"


class CircularUpsample(nn.Module):
    """`upsample` as a module: what `nn.Upsample` and `F.interpolate` become in a converted network.

    With a `size` the factor follows from it, else it is the example's.

    Args: as `CircularDownsample`.

    Shape: (B, C, H, W) -> (B, C, factor * H, factor * W).

    >>> up, x = CircularUpsample((2, 2), "bilinear"), torch.rand(1, 3, 8, 8)
    >>> torch.equal(up(x.roll(1, 3)), up(x).roll(2, 3))
    True
    """

    def __init__(self, factor: Pair, mode: str, size: Pair | None = None) -> None:
        super().__init__()
        self.factor, self.mode, self.size = factor, mode, size

    def forward(self, x: Tensor, size: Any = None) -> Tensor:
        if size is None:
            return _of_size(upsample(x, self.factor, self.mode), self.size)
        rows, columns = (size, size) if isinstance(size, int) else size
        if rows % x.shape[2] or columns % x.shape[3]:
            raise ValueError(
                f"interpolation from {tuple(x.shape[2:])} to {(rows, columns)} is not by an integer factor at this size."
            )
        return upsample(x, (rows // x.shape[2], columns // x.shape[3]), self.mode)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, mode={self.mode!r}"


def _of_size(y: Tensor, size: Pair | None) -> Tensor:
    """What was interpolated, if it has the size that the model names."""
    if size is not None and tuple(y.shape[2:]) != size:
        raise ValueError(
            f"the model interpolates to {size}, which at this size is not by the factor of the example that it was "
            f"converted with (it would give {tuple(y.shape[2:])}); convert it with an example of this size."
        )
    return y


class OnMaps(nn.Module):
    """A module that takes maps to maps of as many channels, of signals and videos."""

    def __init__(self, inner: nn.Module, dims: Dims) -> None:
        super().__init__()
        self.inner, self.dims = inner, dims

    def forward(self, x: Tensor, size: Any = None) -> Tensor:
        if size is None:
            return on_maps(self.inner, x, self.dims)
        return on_maps(lambda maps: self.inner(maps, pair_of(size, len(self.dims))), x, self.dims)


class InTime(nn.Module):
    """A video interpolated in rows and columns by a module of maps, then in time as `F.interpolate` does.

    Args:
        frames: T' / T of the example, by which the number of frames is told where no factor is given.
        factor: of time, as the model gives it; None for a size.
        recompute: whether frames lie as T' / T says, and not as the factor does (`recompute_scale_factor`).

    Shape: (B, C, T, H, W) -> (B, C, T', H', W'), T' = `factor` * T rounded down, or `frames` * T, or as `size` says.
    """

    def __init__(
        self, inner: nn.Module, frames: float, mode: str, align_corners: bool = False, factor: float | None = None, recompute: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inner, self.frames, self.mode, self.align_corners = inner, frames, mode, align_corners
        self.factor, self.recompute = factor, recompute

    def forward(self, x: Tensor, size: Any = None) -> Tensor:
        given = () if size is None else (pair_of(size, 3),)
        y = self.inner(x.flatten(1, 2), *given).unflatten(1, x.shape[1:3])
        before, factor = x.shape[2], self.factor if size is None else None
        after = round(self.frames * before) if size is None else triple_of(size)[0]
        after = after if factor is None else math.floor(factor * before)
        step = before / after if factor is None or self.recompute else 1 / factor
        if before == after and (step == 1 or self.mode != "nearest"):  # PyTorch copies then, whatever the factor
            return y
        steps = torch.arange(after, device=x.device, dtype=torch.float64)
        if self.mode == "nearest":  # in float32, as PyTorch has it
            return y.index_select(2, (steps.float() * torch.tensor(step).float()).long().clamp(max=before - 1))
        places = steps * (before - 1) / max(after - 1, 1) if self.align_corners else (steps + 0.5) * step - 0.5
        places = places.clamp(0, before - 1)
        left = places.long()
        weight = (places - left).to(y.dtype).view(-1, 1, 1)
        # Products and sums of whole tensors: every position is rounded alike.
        return y.index_select(2, left) * (1 - weight) + y.index_select(2, (left + 1).clamp(max=before - 1)) * weight
