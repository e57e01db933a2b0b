"""Translation invariant polyphase sampling, TIPS (Saha & Gokhale, 2024, arXiv 2404.07410): polyphase components, mixed.

A channel's weights of its s x s components are the softmax of scaled means: of a depthwise convolution 3 x 3 and a ReLU, over
the s x s *blocks of the image* (`AdaptiveAvgPool2d((s, s))`). A shift moves content across blocks and leaves the
components where they were, or the other way round: no layer of it is equivariant by construction, to no circular shift.
`mass.convert` takes the whole map for its period. Its authors train against that by two further losses (on the weights, and on undoing a shift), which are not here.
Departures from the authors' code: the depthwise convolution wraps, where theirs pads with zeros; any stride, not 2 alone; a
size that the stride does not divide is refused, where theirs reflects a row; its convolutions start as PyTorch's do, where
their ResNet starts them as all of its own (`kaiming_normal_`, fan out).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mass.errors import as_pair, check_counts, check_divides, check_map
from mass.functional.polyphase import to_phases
from mass.fx.antialias import sample_by
from mass.fx.convert import convert
from mass.fx.network.converted import Converted
from mass.fx.rule import FRAME, Effect, Site, rule
from mass.nn.conv import CircularConv2d


class TIPS(nn.Module):
    """Mix the polyphase components of each channel by weights read off blocks of the map (Saha & Gokhale, 2024, arXiv 2404.07410).

    Args:
        channels: of the map.
        stride: an int or a pair of equal ints.

    Shape:
        x (B, C, H, W), H and W multiples of the stride -> (B, C, H / stride, W / stride).

    >>> import torch
    >>> TIPS(3)(torch.ones(2, 3, 8, 8)).unique().isclose(torch.ones(())).all()     # the weights of a channel sum to 1
    tensor(True)
    """

    tells_all_shifts_apart = True  # `mass.certify` tries them all

    def __init__(self, channels: int, stride: int | tuple[int, int] = 2) -> None:
        super().__init__()
        check_counts(channels=channels)
        self.stride = as_pair(stride, "stride")
        if self.stride[0] != self.stride[1]:
            raise ValueError(f"TIPS samples rows and columns alike, got a stride of {self.stride}.")
        self.conv1 = CircularConv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, s * s, C), in the order of the components, row by row."""
        means = F.adaptive_avg_pool2d(F.relu(self.conv1(x)), self.stride)
        mixed = self.conv2(means).flatten(2).softmax(2)  # (B, C, s * s)
        # As published: the means are read row by row, the components column by column.
        return mixed.unflatten(2, self.stride).transpose(2, 3).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x)
        check_divides(x, self.stride)
        return (to_phases(x, self.stride) * self.weights(x)[..., None, None]).sum(1)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


@rule(modules=[TIPS])
def tips(site: Site) -> Effect:
    raise site.refuse("its weights are means over fixed blocks of the map")


class _OnTheFrame(TIPS):
    """In a network that samples a fixed grid, where nothing is promised: it samples, and keeps rows and columns."""


@rule(modules=[_OnTheFrame])
def tips_on_the_fixed_grid(site: Site) -> Effect:
    return Effect(site.map, site.argument("stride"), breaks=FRAME)


def convert_to_tips(model: nn.Module, example_input: Any) -> Converted:
    """A copy of `model` in which every operation with a stride is dense and TIPS samples behind it; borders are circular.

    Args, raises: as `mass.antialias`. The mixing weights are new parameters, `mass_sample_….conv1` and `.conv2`, that have to
    be trained; the other `state_dict` keys are the original's.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> convert_to_tips(model, torch.rand(1, 3, 8, 8))(torch.rand(2, 3, 16, 16)).shape
    torch.Size([2, 4])
    """
    sampled = sample_by(model, example_input, _OnTheFrame, wraps=True)
    return convert(sampled, example_input, origin="zero", verify=False)
