"""Reductions over positions as modules: bit-identical in any order (mass.functional.exact)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mass.functional.exact import exact_batch_norm, exact_group_norm, exact_mean


class ExactMean(nn.Module):
    """`exact_mean` as a module: what global average pooling becomes in a converted network, (B, C, H, W) -> (B, C, 1, 1).

    >>> x = torch.rand(1, 3, 8, 8)
    >>> torch.equal(ExactMean()(x), ExactMean()(x.roll((3, 5), (2, 3))))
    True
    """

    def __init__(self, dims: tuple[int, ...] = (2, 3), keepdim: bool = True, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dims, self.keepdim, self.dtype = tuple(dims), keepdim, dtype

    def forward(self, x: Tensor) -> Tensor:
        return exact_mean(x if self.dtype is None else x.to(self.dtype), self.dims, self.keepdim)

    def extra_repr(self) -> str:
        return f"dims={self.dims}, keepdim={self.keepdim}"


class ExactSum(ExactMean):
    """A sum over axes, bit-identical in any order."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():  # integers and masks add exactly
            return x.sum(self.dims, self.keepdim, dtype=self.dtype)
        x = x if self.dtype is None else x.to(self.dtype)
        count = math.prod([x.shape[d] for d in self.dims])  # a list: torch.compile cannot look into a generator
        return (exact_mean(x.double(), self.dims, self.keepdim) * count).to(x.dtype)


class ExactGroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` with exact statistics, (B, C, …) -> the same.

    >>> norm, x = ExactGroupNorm(2, 4), torch.rand(1, 4, 8, 8)
    >>> torch.equal(norm(x.roll(3, 2)), norm(x).roll(3, 2))
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        return exact_group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class _ExactBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation whose statistics in evaluation, where it keeps no running ones, are exact."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training or self.running_mean is not None:
            return super().forward(input)
        return exact_batch_norm(input, self.weight, self.bias, self.eps)


class ExactBatchNorm1d(_ExactBatchNorm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` with exact statistics."""


class ExactBatchNorm2d(_ExactBatchNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with exact statistics."""


class ExactBatchNorm3d(_ExactBatchNorm, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` with exact statistics."""


class _ExactInstanceNorm(nn.modules.instancenorm._InstanceNorm):
    """Instance normalisation with exact statistics (with running statistics, in eval mode, nothing is reduced)."""

    def forward(self, input: Tensor) -> Tensor:
        if self.track_running_stats:
            if not self.training:
                return super().forward(input)
            F.instance_norm(input.detach(), self.running_mean, self.running_var, momentum=self.momentum or 0.0)
        return exact_group_norm(input, input.shape[1], self.weight, self.bias, self.eps)


class ExactInstanceNorm1d(_ExactInstanceNorm, nn.InstanceNorm1d):
    """`torch.nn.InstanceNorm1d` with exact statistics."""


class ExactInstanceNorm2d(_ExactInstanceNorm, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` with exact statistics."""


class ExactInstanceNorm3d(_ExactInstanceNorm, nn.InstanceNorm3d):
    """`torch.nn.InstanceNorm3d` with exact statistics."""
