"""Transposed convolution that commutes with circular shifts (paper, section 4.4).

    y[m] = sum of x[n] w[k] over s n + d k - p = m      (m modulo s H, n modulo H)

What the plain operation lets hang over the border belongs to the other side. Folding it back adds the overhang in an
order of its own, and breaks bits. Here the *input* wraps instead; and since m modulo s tells which k take part, each of
the s * s phases of the output is a plain convolution, by the kernel that treats all positions alike (PyTorch's own
transposed one does not for single float32 images on the CPU).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mass.axes import Pair, Triple
from mass.functional.kernels import conv2d, conv3d
from mass.functional.padding import circular_pad, wrap_frames


def circular_conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
) -> Tensor:
    """`torch.nn.functional.conv_transpose2d` on a torus: a stride s makes exactly s H rows.

    Shape: x (B, C, H, W), weight (C, C' / groups, kH, kW) -> (B, C', stride[0] * H, stride[1] * W). Row 0 is the plain
    operation's row 0; its `output_padding` adds rows on the far side, which here belong to the near one.

    >>> circular_conv_transpose2d(torch.ones(1, 1, 1, 2), torch.tensor([[[[1., 2., 4.]]]]), stride=(1, 2)).flatten()
    tensor([5., 2., 5., 2.])
    """
    kernels = [_phases(weight.shape[2 + axis], stride[axis], padding[axis], dilation[axis]) for axis in (0, 1)]
    channels = weight.shape[1] * groups
    grouped = weight.unflatten(0, (groups, -1)).transpose(1, 2)  # (groups, C' / groups, C / groups, kH, kW)
    rows = []
    for down, (top, bottom), steps_h in kernels[0]:
        row = []
        for right, (first, last), steps_w in kernels[1]:
            if down and right:
                taps = grouped[..., down, :][..., right].flatten(0, 1)
                padded = circular_pad(x, (-first, last, -top, bottom))
                row.append(conv2d(padded, taps, bias, (1, 1), (steps_h, steps_w), groups))
            else:  # a stride wider than the kernel leaves gaps
                gap = x.new_zeros(x.shape[0], channels, *x.shape[2:])
                row.append(gap if bias is None else gap + bias.view(-1, 1, 1))
        rows.append(torch.stack([y.to(row[0].dtype) for y in row], 4))
    return torch.stack(rows, 3).flatten(4, 5).flatten(2, 3)


def _phases(kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[list[int], Pair, int]]:
    """Per phase of the output along one axis: the taps it uses, the input places they read relative to its own (from,
    to), and their distance."""
    found = []
    for phase in range(stride):
        taps = [k for k in reversed(range(kernel)) if (phase + padding - dilation * k) % stride == 0]
        places = [(phase + padding - dilation * k) // stride for k in taps]
        distance = places[1] - places[0] if len(places) > 1 else 1
        found.append((taps, (places[0], places[-1]) if places else (0, 0), distance))
    return found


def circular_conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Triple,
    padding: Triple,
    output_padding: int,
    groups: int,
    dilation: Triple,
) -> Tensor:
    """`torch.nn.functional.conv_transpose3d` with circular rows and columns; `output_padding` is that of time.

    Shape: x (B, C, T, H, W), weight (C, C' / groups, kT, kH, kW) -> (B, C', T', stride[1] * H, stride[2] * W).

    >>> x, weight = torch.ones(1, 1, 2, 1, 2), torch.tensor([1., 2., 4.]).view(1, 1, 1, 1, 3)
    >>> circular_conv_transpose3d(x, weight, None, (1, 1, 2), (0, 0, 0), 0, 1, (1, 1, 1)).flatten()
    tensor([5., 2., 5., 2., 5., 2., 5., 2.])
    """
    kernel, before = weight.shape[2:], x.shape[2]
    after = (before - 1) * stride[0] - 2 * padding[0] + dilation[0] * (kernel[0] - 1) + output_padding + 1
    grouped = weight.unflatten(0, (groups, -1)).transpose(1, 2)  # (groups, C' / groups, C / groups, kT, kH, kW)
    channels = grouped.shape[0] * grouped.shape[1]
    times, rows, columns = (_phases(kernel[i], stride[i], padding[i], dilation[i]) for i in range(3))
    made = []
    for place, (early, (start, end), step_t) in enumerate(times):
        count = max(-(-(after - place) // stride[0]), 0)
        frames = F.pad(x, (0, 0, 0, 0, -start, count - before + end))
        for down, (top, bottom), step_h in rows:
            for right, (first, last), step_w in columns:
                shape = x.shape[0], channels, count, *x.shape[3:]
                if early and down and right and count:
                    taps = grouped[..., early, :, :][..., down, :][..., right].flatten(0, 1)
                    wrapped = wrap_frames(frames, (-first, last, -top, bottom), None)
                    y = conv3d(wrapped, taps, bias, (1, 1, 1), 0, (step_t, step_h, step_w), groups)
                else:  # a stride wider than the kernel leaves gaps
                    y = x.new_zeros(shape) if bias is None else bias.view(-1, 1, 1, 1).expand(shape)
                made.append(y)
    return _interlaced(made, stride, after)


def _interlaced(made: list[Tensor], stride: Triple, frames: int) -> Tensor:
    """Phases (B, C, T, H, W), of time, rows and columns, as one video; the later ones may have a frame less."""
    longest = max(y.shape[2] for y in made)
    same = [F.pad(y, (0, 0, 0, 0, 0, longest - y.shape[2])) for y in made]
    cells = torch.stack(same, -1).unflatten(-1, stride)  # (B, C, T, H, W, s_t, s_h, s_w)
    video = cells.permute(0, 1, 2, 5, 3, 6, 4, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return video[:, :, :frames]
