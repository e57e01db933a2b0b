"""A small detector with one dense map, after FCOS (Tian et al., 2019): at each position which kind, and how far a box reaches.

A ResNet of basic blocks at strides 4, 8 and 16, the coarsest map brought back to stride 8 and added, and two heads of two layers.
There is one level, for the defects that are looked for are alike in size, and no centre-ness: only positions near an object's
centre are trained to answer for it. Borders are zero-padded here; `companion.models.methods` makes them wrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion.models.cifar_resnets import BasicBlock
from companion.models.loading import load_into

STRIDE = 8  # of the map that it returns
_PRIOR = 0.01  # the probability of a kind before training (Lin et al., 2017)


class DenseDetector(nn.Module):
    """(B, channels, H, W), sides multiples of 16 -> (B, kinds + 4, H / 8, W / 8).

    What comes are logits of the kinds, then how far a box reaches from its position to the left, up, right and down, in strides,
    from 0 on.
    """

    def __init__(
        self, widths: Sequence[int], channels: int, kinds: int, filtering: str | None = None, place: str = "after"
    ) -> None:
        super().__init__()
        stem, *rest = widths
        self.stem = nn.Sequential(nn.Conv2d(channels, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.stages = nn.ModuleList()
        for inputs, outputs in zip(widths[:-1], rest, strict=True):
            self.stages.append(BasicBlock(inputs, outputs, 2, filtering, place, "B"))
        width = widths[-2]
        self.down, self.across = nn.Conv2d(widths[-1], width, 1), nn.Conv2d(width, width, 1)
        self.kind_head, self.box_head = (
            nn.Sequential(
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, outputs, 3, 1, 1),
            )
            for outputs in (kinds, 4)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for head, start in ((self.kind_head, -math.log((1 - _PRIOR) / _PRIOR)), (self.box_head, 1.0)):
            last = head[-1]
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            nn.init.normal_(last.weight, std=0.01)
            nn.init.constant_(last.bias, start)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x = F.relu(self.across(maps[-2]) + F.interpolate(self.down(maps[-1]), scale_factor=2.0))
        return torch.cat((self.kind_head(x), F.relu(self.box_head(x))), 1)


def _detector(widths: Sequence[int], channels: int, kinds: int) -> Callable[..., nn.Module]:
    def make(filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None) -> nn.Module:
        model = DenseDetector(widths, channels, kinds, filtering, place)
        if weights is not None:
            load_into(model, weights, f"a detector of widths {', '.join(map(str, widths))}")
        return model

    return make


DETECTORS = {
    "detector-boards": _detector((16, 32, 64, 64), 3, 6),
    "detector-vias": _detector((8, 16, 32, 32), 1, 5),  # for the quick profile
}
