"""Losses of dense outputs as modules, bit-identical when an image and its labels move together (mass.functional.loss)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mass.functional.loss import exact_cross_entropy, exact_pairwise_loss


class ExactCrossEntropyLoss(nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss` with an exact reduction."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return exact_cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, label_smoothing=self.label_smoothing
        )


class ExactNLLLoss(nn.NLLLoss):
    """`torch.nn.NLLLoss` with an exact reduction."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return exact_cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, logarithms=True)


class FunctionalCrossEntropy(nn.Module):
    """`F.cross_entropy` or `F.nll_loss` with an exact reduction; weights are the network's."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return exact_cross_entropy(input, target, weight, **self.options)


class PairwiseLoss(nn.Module):
    """`F.mse_loss` and its like with an exact reduction.

    Args:
        function: of input and target, with `reduction`; names: of the tensors that it is given beside them.
    """

    def __init__(self, function: Callable[..., Tensor], reduction: str, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.function, self.reduction, self.names = function, reduction, names

    def forward(self, input: Tensor, target: Tensor, *beside: Tensor | None) -> Tensor:
        options = dict(zip(self.names, beside, strict=True))
        return exact_pairwise_loss(self.function, input, target, self.reduction, **options)
