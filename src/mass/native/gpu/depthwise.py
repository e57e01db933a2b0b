"""Depthwise convolution of a map moved to its origin and wrapped around its borders: no copy is made of it.

Every output is summed tap by tap, in float32, in one order.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,unused-ignore]
from torch import Tensor

# What a program computes: rows of the output, and neighbours in memory. A thread then has 8 neighbours (16 bytes) of every row, so that
# one load of their weights serves all rows.
_ROWS = 2
_COLUMNS = 1024
_WARPS = 4
_TYPES = (torch.float16, torch.bfloat16, torch.float32)


@triton.jit
def _depthwise(  # type: ignore[no-untyped-def]
    x, weight, bias, origin, out, lines, planes, unit, height, width, rows, columns, top, left,
    step_h, step_w, dilation_h, dilation_w, tap,
    TALL: tl.constexpr, WIDE: tl.constexpr, LAST: tl.constexpr, STEPS: tl.constexpr,
    BIASED: tl.constexpr, MOVED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    line = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (line < lines)[:, None] & (place < columns * unit)[None, :]
    plane, row = line // rows, line % rows * step_h - top
    column = tl.zeros_like(row) - left
    if MOVED:
        image = plane // planes
        row += (tl.load(origin + 2 * image, line < lines, other=0) % height).to(tl.int32)
        column += (tl.load(origin + 2 * image + 1, line < lines, other=0) % width).to(tl.int32)
    # Pixel by pixel with all channels (LAST), or channel by channel: what lies beside each other is taken as it lies.
    channel = (place % unit)[None, :] if LAST else (plane % planes)[:, None]
    ahead = place // unit * (step_w * unit) + place % unit if STEPS else place
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for i in tl.static_range(TALL):
        read_row = (row + i * dilation_h) % height
        start = (plane.to(tl.int64) * height + (read_row + height) % height) * width * unit
        for j in tl.static_range(WIDE):
            first = ((column + j * dilation_w) % width + width) % width * unit
            at = first[:, None] + ahead[None, :]
            at = tl.where(at >= width * unit, at - width * unit, at)
            value = tl.load(x + start[:, None] + at, inside, other=0.0).to(tl.float32)
            total += value * tl.load(weight + channel + (i * WIDE + j) * tap).to(tl.float32)
    if BIASED:
        total += tl.load(bias + channel).to(tl.float32)
    tl.store(
        out + line.to(tl.int64)[:, None] * (columns * unit) + place[None, :], total.to(out.dtype.element_ty), inside
    )


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
    origin: Tensor | None,
) -> Tensor | None:
    """What `mass.native.depthwise` promises; None where it is not served: float64, a map with gaps, or an empty one.

    Shape: x (B, C, H, W), weight (C, 1, kH, kW) and bias (C,) of its dtype, pads (left, right, top, bottom), origin (B, 2) int64
    or None, the stride dividing H and W -> (B, C, H / stride, W / stride), in the memory format of x.
    """
    last = not x.is_contiguous()
    if x.dtype not in _TYPES or x.numel() == 0 or (last and not x.is_contiguous(memory_format=torch.channels_last)):
        return None
    batch, channels, height, width = x.shape
    rows, columns = height // stride[0], width // stride[1]
    memory_format = torch.channels_last if last else torch.contiguous_format
    out = torch.empty((batch, channels, rows, columns), dtype=x.dtype, device=x.device, memory_format=memory_format)
    origin = None if origin is None else origin.expand(batch, 2).contiguous()
    bias = None if bias is None else bias.contiguous()
    unit, planes = (channels, 1) if last else (1, channels)
    lines, wide = batch * planes * rows, min(triton.next_power_of_2(columns * unit), _COLUMNS)
    tall = (_ROWS if last else 1) * _COLUMNS // wide
    grid = (triton.cdiv(lines, tall), triton.cdiv(columns * unit, wide))
    _depthwise[grid](
        x, weight.flatten(1).t().contiguous(), bias, origin, out, lines, planes, unit, height, width, rows, columns, pads[2], pads[0],
        *stride, *dilation, channels, weight.shape[2], weight.shape[3], last, stride[1] > 1,
        bias is not None, origin is not None, tall, wide, num_warps=_WARPS,
    )  # fmt: skip
    return out
