"""Circularity: the border that a shift does not move (paper, section 4.3, modification 1).

Zero padding marks the border of the frame, and 'valid' operations lose it; both see where the image was cut. Here
every windowed operation of stride s reads past the border by wrapping, and gives exactly H / s outputs: output n
reads positions s n - p, …, s n - p + d (k - 1) modulo H, with p the original padding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import as_pair


def wrap(kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1) -> tuple[int, int]:
    """How far one axis of a windowed operation wraps (before, after) for H / stride outputs; negative: cropped.

    >>> wrap(kernel=3, padding=1), wrap(kernel=7, stride=2, padding=3), wrap(kernel=1, stride=2)
    ((1, 1), (3, 2), (0, 0))
    """
    reach = dilation * (kernel - 1)
    if isinstance(padding, str):
        padding = reach // 2 if padding == "same" else 0
    after = reach + 1 - stride - padding
    return padding, after if padding else max(after, 0)


def window_pads(kernel, stride, padding, dilation=1, before=(0, 0)) -> tuple[int, int, int, int]:  # type: ignore[no-untyped-def]
    """`wrap` on both axes, as (left, right, top, bottom); each argument an int or a pair, padding also a name.

    `before`: rows and columns that were padded in front of the operation, as part of it.
    """
    kernel, stride, dilation = as_pair(kernel, "kernel_size"), as_pair(stride, "stride"), as_pair(dilation, "dilation")
    paddings = (padding, padding) if isinstance(padding, int | str) else tuple(padding)
    if "same" in paddings:
        paddings = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    paddings = tuple((0 if p == "valid" else p) + more for p, more in zip(paddings, before, strict=True))
    rows, columns = (wrap(kernel[i], stride[i], paddings[i], dilation[i]) for i in (0, 1))
    return (*columns, *rows)


def circular_pad(x: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
    """Wrap a map around its borders, by any amount, more than once if need be; a negative amount crops.

    Shape: x (B, C, H, W), pad = (left, right, top, bottom) as `torch.nn.functional.pad` orders it
    -> (B, C, top + H + bottom, left + W + right), in the memory format of `x`.

    >>> circular_pad(torch.tensor([[[[1., 2.]]]]), (3, 2, 0, 0)).flatten()
    tensor([2., 1., 2., 1., 2., 1., 2.])
    """
    if not any(pad):
        return x
    left, right, top, bottom = pad
    height, width = x.shape[-2:]
    if min(pad) >= 0 and max(left, right) <= width and max(top, bottom) <= height:
        padded = F.pad(x, pad, mode="circular")
    else:
        rows = torch.arange(-top, height + bottom, device=x.device) % height
        columns = torch.arange(-left, width + right, device=x.device) % width
        padded = x.index_select(2, rows).index_select(3, columns)
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        padded = padded.contiguous(memory_format=torch.channels_last)  # F.pad drops it
    return padded
