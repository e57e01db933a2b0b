"""Registering pairs: the test moved to where it agrees best with its template."""

from __future__ import annotations

import torch
from torch import Tensor

_REACH = 20  # pixels: how far apart template and test are looked for


def registered(pairs: Tensor) -> Tensor:
    """Tests moved to the peak of the cross-correlation with their templates.

    Args:
        pairs: template and test, (N, 2, H, W), uint8.

    Returns:
        Of the same shape; what came in by wrapping is the template's.
    """
    template, test = (pairs[:, k].double() - pairs[:, k].double().mean((1, 2), keepdim=True) for k in (0, 1))
    product = torch.fft.rfft2(template).conj() * torch.fft.rfft2(test)
    likeness = torch.fft.irfft2(product, s=template.shape[1:])  # at t: how well test, moved by t, fits
    near = torch.zeros_like(likeness[0], dtype=torch.bool)
    near[:_REACH, :_REACH] = near[-_REACH:, :_REACH] = near[:_REACH, -_REACH:] = near[-_REACH:, -_REACH:] = True
    best = likeness.masked_fill(~near, -torch.inf).flatten(1).argmax(1)
    width = template.shape[2]
    return torch.stack([_moved(pair, int(at) // width, int(at) % width) for pair, at in zip(pairs, best, strict=True)])


def _moved(pair: Tensor, down: int, right: int) -> Tensor:
    height, width = pair.shape[1:]
    down, right = (by - side if by > side // 2 else by for by, side in ((down, height), (right, width)))
    test = pair[1].roll((-down, -right), (0, 1))
    rows, columns = torch.arange(height) + down, torch.arange(width) + right
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return torch.stack((pair[0], torch.where(inside, test, pair[0])))
