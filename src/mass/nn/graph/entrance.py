"""The door of a converted network: images come in by one memory format."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Entrance(nn.Module):
    """An image as it is, by one memory format, whatever its strides were.

    Kernels are chosen by strides, and round by their own order. An image that was shifted may have others than it had
    before (`roll` of an image whose channels lie together, as those that come from numpy do, gives one whose do not), and is
    still the same image. Its channels lie as those of the network's weights do: it would be brought into that layout at every use.

    Args:
        network: whose weights decide.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        weights = (
            m
            for m in network.modules()
            if isinstance(weight := getattr(m, "weight", None), Tensor) and weight.ndim == 4
        )
        self.decides = tuple(
            module for module, _ in zip(weights, range(1), strict=False)
        )  # no submodules: they have their places

    def forward(self, x: Tensor) -> Tensor:
        last = x.ndim == 4 and x.shape[1] > 1 and self._channels_last()
        x = x.permute(0, 2, 3, 1).contiguous() if last else x.contiguous()
        if 1 in x.shape and not torch.compiler.is_compiling():
            x = x.flatten().view(x.shape)  # the stride of an axis of one element says nothing, but kernels read it
        return x.permute(0, 3, 1, 2) if last else x

    def _channels_last(self) -> bool:
        weights: list[Tensor] = [module.weight for module in self.decides]  # type: ignore[misc]
        return any(w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous() for w in weights)
