"""MASS layer by layer: the straightforward reading of the paper, as the control for what `mass.convert` adds.

Each strided layer is replaced on its own and selects its own origin, by floating-point norms and the first index. Parallel
branches do not share origins, and ties are broken by position. Do not use it; notebooks 02 and 03 measure where it breaks.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mass.functional.shift import shift
from mass.nn.conv import CircularConv2d
from mass.nn.pooling import CircularAvgPool2d, CircularMaxPool2d

NAME, COLOUR = "layer by layer", "#c0504d"  # in records and figures
_CIRCULAR = {nn.Conv2d: CircularConv2d, nn.MaxPool2d: CircularMaxPool2d, nn.AvgPool2d: CircularAvgPool2d}


class _Aligned(nn.Module):
    """A strided layer at the origin of its own input's largest floating-point norm."""

    def __init__(self, layer: nn.Module, stride: int) -> None:
        super().__init__()
        self.layer, self.stride = layer, stride

    def forward(self, x: Tensor) -> Tensor:
        s = self.stride
        norms = torch.stack([x[:, :, i::s, j::s].flatten(1).norm(dim=1) for i in range(s) for j in range(s)], 1)
        best = norms.argmax(1)
        return self.layer(shift(x, torch.stack((best // s, best % s), 1)))


def layer_by_layer(model: nn.Module) -> nn.Module:
    """A copy of `model` with circular borders in which every strided convolution and pool aligns itself."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if type(module) in _CIRCULAR:
            module.__class__ = _CIRCULAR[type(module)]
            stride = module.stride if isinstance(module.stride, int) else module.stride[0]
            if stride > 1:
                model.set_submodule(name, _Aligned(module, stride))
    return model
