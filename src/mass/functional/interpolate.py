"""Going back up: interpolation that commutes with circular shifts (paper, section 4.4).

Sample n of a map enlarged by r lies at (n + 1/2) / r - 1/2 of the coarse map (half-pixel centres; with
`align_corners=True` the distance of samples depends on the size, and no shift of the coarse map moves the fine one).
Weights depend on n mod r alone, so each of the r phases is one sum of shifted maps, computed alike at all positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MODES = ("nearest", "bilinear", "bicubic")


def _require_known(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"interpolation is {', '.join(MODES[:-1])} or {MODES[-1]}, not {mode!r}.")


def _taps(place: float, mode: str) -> list[tuple[int, float]]:
    """(offset, weight) of the samples that make the value at a place between them, along one axis."""
    left = math.floor(place)
    t = place - left
    if mode == "bilinear":
        return [(left, 1 - t), (left + 1, t)] if t else [(left, 1.0)]
    a = -0.75  # the constant of torch's bicubic (Keys, 1981)

    def near(d: float) -> float:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: float) -> float:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(left - 1, far(1 + t)), (left, near(t)), (left + 1, near(1 - t)), (left + 2, far(2 - t))]


def upsample(x: Tensor, factor: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Enlarge a map by integer factors, circularly, with half-pixel centres.

    Shape: (B, C, H, W) -> (B, C, factor[0] * H, factor[1] * W).

    Raises:
        ValueError: for a mode that is not one of `MODES`.

    >>> upsample(torch.tensor([[[[0., 4.]]]]), (1, 2)).flatten()
    tensor([1., 1., 3., 3.])
    """
    _require_known(mode)
    for axis, r in zip((2, 3), factor, strict=True):
        if r == 1:
            continue
        if x.shape[axis] == 1:  # weights add up to one, but not when they are rounded
            x = x.repeat_interleave(r, axis)
            continue
        phases = []
        for phase in range(r):
            taps = [(0, 1.0)] if mode == "nearest" else _taps((2 * phase + 1 - r) / (2 * r), mode)
            terms = [x.roll(-offset, axis) * weight for offset, weight in taps]
            phases.append(sum(terms[1:], start=terms[0]))
        x = torch.stack(phases, axis + 1).flatten(axis, axis + 1)
    return x


def downsample(x: Tensor, factor: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Interpolate a map to a size that integers divide, circularly, with half-pixel centres and no anti-aliasing.

    Shape: (B, C, H, W) -> (B, C, H / factor[0], W / factor[1]).

    Raises:
        ValueError: for a mode that is not one of `MODES`.

    >>> downsample(torch.tensor([[[[1., 3., 5., 7.]]]]), (1, 2)).flatten()
    tensor([2., 6.])
    """
    _require_known(mode)
    for axis, r in zip((2, 3), factor, strict=True):
        taps = [(0, 1.0)] if mode == "nearest" or r == 1 else _taps((r - 1) / 2, mode)
        terms = [x.roll(-offset, axis) * weight if offset or weight != 1 else x for offset, weight in taps]
        x = sum(terms[1:], start=terms[0])
        x = x[:, :, ::r] if axis == 2 else x[..., ::r]
    return x.contiguous()
