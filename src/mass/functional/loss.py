"""Losses of dense outputs that are bit-identical when an image and its labels move together.

Every position's loss is computed alike wherever it lies, and all are added exactly (mass.functional.exact).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mass.functional.exact import exact_mean
from mass.functional.kernels import elementwise


def _sum(values: Tensor) -> Tensor:
    """Of all values, exactly, in float64."""
    return exact_mean(values.double(), tuple(range(values.ndim))) * math.prod(values.shape)


def _reduced(losses: Tensor, reduction: str, count: Tensor | int) -> Tensor:
    if reduction == "none":
        return losses
    total = _sum(losses)
    return (total / count if reduction == "mean" else total).to(losses.dtype)


def exact_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    logarithms: bool = False,
) -> Tensor:
    """`F.cross_entropy`, or with `logarithms` `F.nll_loss`, of a map, whose reduction is exact.

    Shape: input (B, C, H, W), target int64 (B, H, W), or probabilities (B, C, H, W) -> a number; with reduction 'none'
    (B, H, W). So of signals and videos.

    >>> y, labels = torch.randn(2, 5, 8, 8), torch.randint(5, (2, 8, 8))
    >>> loss = exact_cross_entropy(y, labels)
    >>> torch.allclose(loss, F.cross_entropy(y, labels))
    True
    >>> torch.equal(loss, exact_cross_entropy(y.roll((3, 5), (2, 3)), labels.roll((3, 5), (1, 2))))
    True
    """
    rows, shape = _rows(input), (len(input), *input.shape[2:])
    classes = _rows(target) if target.is_floating_point() else target.flatten()
    if logarithms:
        losses = F.nll_loss(rows, classes, weight, ignore_index=ignore_index, reduction="none")
    else:
        losses = F.cross_entropy(
            rows, classes, weight, ignore_index=ignore_index, reduction="none", label_smoothing=label_smoothing
        )
    count: Tensor | int = len(rows)
    if reduction == "mean" and not target.is_floating_point():
        seen = classes != ignore_index
        each = seen if weight is None else torch.where(seen, weight[torch.where(seen, classes, 0)], 0.0)
        count = each.sum() if weight is None else _sum(each)
    return _reduced(losses.view(shape), reduction, count)


def _rows(x: Tensor) -> Tensor:
    """(B, C, …) as rows of channels (B · …, C): every position by the same loop."""
    return x.movedim(1, -1).flatten(0, -2).contiguous()


def exact_pairwise_loss(
    function: Callable[..., Tensor], input: Tensor, target: Tensor, reduction: str = "mean", **options: Tensor | None
) -> Tensor:
    """A loss that compares values one by one (`F.mse_loss`, `F.binary_cross_entropy`), whose reduction is exact.

    Args:
        function: of input and target, with `reduction`.
        options: tensors beside them, of their shape or broadcast to it (`weight`, `pos_weight`).

    Shape: input and target of one shape -> a number; with reduction 'none' of their shape.

    >>> y, mask = torch.randn(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    >>> loss = exact_pairwise_loss(F.binary_cross_entropy_with_logits, y, mask)
    >>> torch.allclose(loss, F.binary_cross_entropy_with_logits(y, mask))
    True
    """
    names = [name for name, value in options.items() if value is not None]
    beside = [value.to(input.dtype).expand_as(input) for value in map(options.get, names) if value is not None]

    def each(x: Tensor, y: Tensor, *rest: Tensor) -> Tensor:
        return function(x, y, reduction="none", **dict(zip(names, rest, strict=True)))

    return _reduced(elementwise(each, input, target, *beside), reduction, input.numel())
