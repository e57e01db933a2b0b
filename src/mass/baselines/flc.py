"""FrequencyLowCut pooling, FLC (Grabinski et al., 2022, arXiv 2204.00491): the ideal low-pass filter, by Fourier transforms.

Of the H x W frequencies of a map the lowest H / s x W / s are kept, and make a map of that size: nothing aliases where it
samples. What follows (an activation, say) makes new high frequencies on the coarse grid, so that a network of it is nearly
equivariant and not exactly. Departures from the authors' code: any stride, not 2 alone; their first release takes the
absolute value and multiplies maps by 4, where this is, as their later one, the real part of a transform that keeps means;
of a side of 4 k + 2 positions theirs keeps the frequencies from -k - 1 to k - 1, a band off centre, where this keeps those from -k
to k. A converted network also has it in another place: behind the dense convolution, its BatchNorm and its ReLU, and behind a
max pooling that stays, dense. Their ResNets have it in front of a convolution, which then works on the small map, and
in the place of the max pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mass.errors import as_pair, check_divides, check_map
from mass.fx.antialias import sample_by
from mass.fx.convert import convert
from mass.fx.network.converted import Converted
from mass.fx.rule import FRAME, Effect, Site, rule


class FLC(nn.Module):
    """Keep the lowest frequencies, as many as the sampled map has positions (Grabinski et al., 2022, arXiv 2204.00491).

    Args:
        stride: an int or a pair.

    Shape:
        x (B, C, H, W), H and W multiples of the stride -> (B, C, H / stride, W / stride), in the dtype of `x`.

    >>> wave = torch.cos(2 * torch.pi * torch.arange(8) / 8).expand(1, 1, 8, 8)  # slow enough for every second position
    >>> torch.allclose(FLC(2)(wave), wave[..., ::2, ::2], atol=1e-6)
    True
    """

    tells_all_shifts_apart = True  # by rounding: `mass.certify` tries them all

    def __init__(self, stride: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.stride = as_pair(stride, "stride")

    def forward(self, x: Tensor) -> Tensor:
        check_map(x)
        check_divides(x, self.stride)
        spectrum = torch.fft.fft2(x if x.dtype == torch.float64 else x.float(), norm="forward")
        kept = [torch.fft.fftfreq(size // s, s).to(x.device) for size, s in zip(x.shape[2:], self.stride, strict=True)]
        rows, columns = (torch.round(wave * size).long() % size for wave, size in zip(kept, x.shape[2:], strict=True))
        low = spectrum.index_select(2, rows).index_select(3, columns)
        return torch.fft.ifft2(low, norm="forward").real.to(x.dtype)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


@rule(modules=[FLC])
def flc(site: Site) -> Effect:
    """It commutes with shifts by multiples of its stride, up to the rounding of the transforms."""
    site.image_axes()
    return Effect(site.map, site.argument("stride"), breaks=FRAME)


def convert_to_flc(model: nn.Module, example_input: Any) -> Converted:
    """A copy of `model` in which every operation with a stride is dense and FLC samples behind it; borders are circular.

    Args, raises: as `mass.antialias`. The result has the same `state_dict` keys.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> convert_to_flc(model, torch.rand(1, 3, 8, 8))(torch.rand(2, 3, 16, 16)).shape
    torch.Size([2, 4])
    """
    sampled = sample_by(model, example_input, lambda channels, stride: FLC(stride), wraps=True)
    return convert(sampled, example_input, origin="zero", verify=False)
