"""The door of a converted network: images come in by one memory format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mass.functional.padding import is_channels_last


class Entrance(nn.Module):
    """An image as it is, by one memory format, whatever its strides were.

    Kernels are chosen by strides, and round by their own order. An image that was shifted may have others than it had
    before (`roll` of an image whose channels lie together, as those that come from numpy do, gives one whose do not), and is
    still the same image. Its channels lie as those of the network's weights do: it would be brought into that layout at every use.

    Here a network also refuses what it does not hold for, since whatever runs its graph, an exporter say, comes by.

    Args:
        network: whose weights decide.

    Attributes:
        only_size: refuses images of another size, where the network holds for one alone.
        before_export: what the network refuses to be exported with.
    """

    only_size: Any = None
    before_export: Callable[[], None] | None = None

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        found = [module for module in network.modules() if _lies(_weight_of(module)) is not None]
        self.decides = tuple(found[:1])  # no submodule: it has its place

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "before_export"}  # of its network alone

    def forward(self, x: Tensor) -> Tensor:
        if self.only_size is not None:
            self.only_size.require(x)
        if (
            self.before_export is not None
            and torch.compiler.is_exporting()
            and not torch.compiler.is_dynamo_compiling()
        ):
            self.before_export()
        last = x.ndim == 4 and x.shape[1] > 1 and self._channels_last()
        x = x.permute(0, 2, 3, 1).contiguous() if last else x.contiguous()
        if 1 in x.shape and not torch.compiler.is_compiling():
            x = x.flatten().view(x.shape)  # the stride of an axis of one element says nothing, but kernels read it
        return x.permute(0, 3, 1, 2) if last else x

    def _channels_last(self) -> bool:
        return any(_lies(_weight_of(module)) == torch.channels_last for module in self.decides)


def _lies(weight: Tensor | None) -> torch.memory_format | None:
    """The memory format of a convolution's weight, None of what is none."""
    if weight is None or weight.ndim != 4:
        return None
    return torch.channels_last if is_channels_last(weight) else torch.contiguous_format


def _weight_of(module: nn.Module) -> Tensor | None:
    """A module's weight as it is kept: one that a parametrisation computes (spectral norm) must not be computed for this."""
    if "parametrizations" in module._modules:
        kept: Any = module._modules["parametrizations"]
        return getattr(kept["weight"], "original", None) if "weight" in kept else None
    weight = module._parameters.get("weight")
    return weight if isinstance(weight, Tensor) else None
