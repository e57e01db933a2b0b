"""Selection and wrapping copies on CUDA, in Triton: the energies of a map in two readings, a moved and padded map in one.

Tested bit for bit against the PyTorch code in Triton's interpreter, on the CPU; their speed has **not been measured**. No
kernel asks the host for a value: origins and scales stay on the device.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,unused-ignore]
from torch import Tensor

BLOCK = 1024
MOST_PHASES = 16  # each phase is one masked sum over a block


# |x| as float32 is read in two kernels: NaN counts as 0, infinity as the dtype's largest number, as in mass.origin.


@triton.jit
def _largest(x, largest, size, limit, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i = block * BLOCK + tl.arange(0, BLOCK)
    values = tl.abs(tl.load(x + image * size + i, i < size, other=0.0).to(tl.float32))
    values = tl.minimum(tl.where(values == values, values, 0.0), limit)  # noqa: PLR0124
    # The bits of positive numbers are ordered as they are.
    tl.atomic_max(largest + image, tl.max(values, 0).to(tl.int32, bitcast=True))


@triton.jit
def _energies(  # type: ignore[no-untyped-def]
    x, largest, high_sums, low_sums, size, unit, width, limit, P: tl.constexpr, Q: tl.constexpr, BLOCK: tl.constexpr
):
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i = block * BLOCK + tl.arange(0, BLOCK)
    values = tl.abs(tl.load(x + image * size + i, i < size, other=0.0).to(tl.float32))
    values = tl.minimum(tl.where(values == values, values, 0.0), limit)  # noqa: PLR0124
    exponent = tl.load(largest + image) >> 23
    scale = ((268 - exponent) << 23).to(tl.float32, bitcast=True)  # 2^14 over the largest's power of two
    scaled = values * tl.where(exponent < 27, 0.0, scale)  # below 2^-100 all is zero
    # Adding 1.5 * 2^23 rounds to an integer, halves to even.
    high = (scaled + 12582912.0) - 12582912.0
    low = ((scaled - high) * 32768.0 + 12582912.0) - 12582912.0
    high, low = high.to(tl.int64), low.to(tl.int64)
    pixel = i // unit
    phase = (pixel // width) % P * Q + (pixel % width) % Q
    for p in tl.static_range(P * Q):
        here = (phase == p) & (i < size)
        tl.atomic_add(high_sums + image * (P * Q) + p, tl.sum(tl.where(here, high * high, 0), 0))
        tl.atomic_add(low_sums + image * (P * Q) + p, tl.sum(tl.where(here, low * low, 0), 0))


@triton.jit
def _wrap(  # type: ignore[no-untyped-def]
    x,
    out,
    origin,
    total,
    planes,
    unit,
    height,
    width,
    rows,
    columns,
    top,
    left,
    MOVED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < total
    pixel = i // unit
    column, row, plane = pixel % columns, pixel // columns % rows, pixel // columns // rows
    if MOVED:
        image = plane // planes
        row += tl.load(origin + 2 * image, inside, other=0) % height
        column += tl.load(origin + 2 * image + 1, inside, other=0) % width
    # A remainder may be negative: one more turn, past any padding, keeps it positive.
    row = ((row - top) % height + height) % height
    column = ((column - left) % width + width) % width
    value = tl.load(x + ((plane * height + row) * width + column) * unit + i % unit, inside)
    tl.store(out + i, value, inside)


def _layout(x: Tensor) -> int | None:
    if x.is_contiguous():
        return 0
    return 1 if x.is_contiguous(memory_format=torch.channels_last) else None


def energies(x: Tensor, period: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Exact energies of the rule 'l2', the first 15 bits and the next (mass.origin); None if not served.

    Shape: x (B, C, H, W) float32, float16 or bfloat16 -> two of (B, P * Q) int64.
    """
    last, phases, size = _layout(x), period[0] * period[1], x[0].numel()
    if last is None or x.dtype == torch.float64 or phases > MOST_PHASES or size >= 1 << 31:
        return None
    limit = torch.finfo(x.dtype).max
    largest = torch.zeros(len(x), dtype=torch.int32, device=x.device)
    high, low = torch.zeros(2, len(x), phases, dtype=torch.int64, device=x.device)
    grid = (len(x), triton.cdiv(size, BLOCK))
    _largest[grid](x, largest, size, limit, BLOCK)
    unit = x.shape[1] if last else 1
    _energies[grid](x, largest, high, low, size, unit, x.shape[3], limit, *period, BLOCK)
    return high, low


def wrap(x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None = None) -> Tensor | None:
    """A map moved to its origin and wrapped around its borders, one copy, as `mass.native.wrap`; None if not served.

    Shape: x (B, C, H, W), pads (left, right, top, bottom), origin (B, 2) int64 or None
    -> (B, C, top + H + bottom, left + W + right), in the memory format of x.
    """
    last = _layout(x)
    if last is None or x.numel() == 0:
        return None
    batch, channels, height, width = x.shape
    left, right, top, bottom = pads
    rows, columns = height + top + bottom, width + left + right
    memory_format = torch.channels_last if last else torch.contiguous_format
    out = torch.empty((batch, channels, rows, columns), dtype=x.dtype, device=x.device, memory_format=memory_format)
    given = None if origin is None else origin.expand(batch, 2).contiguous()
    unit, planes = (channels, 1) if last else (1, channels)
    grid = (triton.cdiv(out.numel(), BLOCK),)
    _wrap[grid](
        x, out, given, out.numel(), planes, unit, height, width, rows, columns, top, left, given is not None, BLOCK
    )
    return out
