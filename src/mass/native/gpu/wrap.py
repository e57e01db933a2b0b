"""A map moved to its origin and wrapped around its borders, in one copy."""

from __future__ import annotations

import math

import torch
import triton  # type: ignore[import-not-found,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,unused-ignore]
from torch import Tensor

_TILE = 4096  # elements that a program copies
_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


@triton.jit
def _wrap(  # type: ignore[no-untyped-def]
    x, out, origin, lines, planes, unit, height, width, rows, columns, top, left,
    STEP_H: tl.constexpr, STEP_W: tl.constexpr,
    MOVED: tl.constexpr, TURNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    line = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = line < lines
    plane = line // rows
    row = (line % rows).to(tl.int32) * STEP_H - top
    column = tl.zeros_like(row) - left
    if MOVED:
        image = plane // planes
        row += (tl.load(origin + 2 * image, inside, other=0) % height).to(tl.int32)
        column += (tl.load(origin + 2 * image + 1, inside, other=0) % width).to(tl.int32)
    # A remainder may be negative: one more turn, past any padding, keeps it positive.
    row = (row % height + height) % height
    first = (column % width + width) % width * unit
    out_place = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    ahead = out_place if STEP_W == 1 else out_place // unit * (STEP_W * unit) + out_place % unit
    place = first[:, None] + ahead[None, :]
    if TURNS:
        for _ in tl.static_range(TURNS):
            place = tl.where(place >= width * unit, place - width * unit, place)
    else:
        place = place % (width * unit)
    both = inside[:, None] & (out_place < columns * unit)[None, :]
    value = tl.load(x + ((plane * height + row) * width * unit)[:, None] + place, both)
    tl.store(out + (line * columns * unit)[:, None] + out_place[None, :], value, both)


def wrap(
    x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None = None, step: tuple[int, int] = (1, 1)
) -> Tensor | None:
    """What `mass.native.wrap` promises; None where it is not served: a map with gaps, or an empty one.

    Shape: x (B, C, H, W), pads (left, right, top, bottom), origin (B, 2) int64 or None
    -> (B, C, top + H + bottom, left + W + right), in the memory format of x; with a step, so many times fewer.
    """
    last = not x.is_contiguous()
    if x.numel() == 0 or (last and not x.is_contiguous(memory_format=torch.channels_last)):
        return None
    batch, channels, height, width = x.shape
    left, right, top, bottom = pads
    rows, columns = -(-(height + top + bottom) // step[0]), -(-(width + left + right) // step[1])
    memory_format = torch.channels_last if last else torch.contiguous_format
    out = torch.empty((batch, channels, rows, columns), dtype=x.dtype, device=x.device, memory_format=memory_format)
    if out.numel() == 0:
        return out
    origin = None if origin is None else origin.expand(batch, 2).contiguous()
    unit, planes = (channels, 1) if last else (1, channels)
    # A pixel's channels lie together: the widest integers that divide them are copied.
    size = math.gcd(8, unit * x.element_size(), x.storage_offset() * x.element_size())
    source, target = ((t.permute(0, 2, 3, 1) if last else t).view(_INTEGERS[size]) for t in (x, out))
    unit = unit * x.element_size() // size
    turns = (width + columns * step[1] - 1) // width
    block = min(triton.next_power_of_2(columns * unit), _TILE)
    lines = batch * planes * rows
    grid = (triton.cdiv(lines, _TILE // block), triton.cdiv(columns * unit, block))
    _wrap[grid](
        source, target, origin, lines, planes, unit, height, width, rows, columns, top, left, *step,
        origin is not None, turns if turns <= 3 else 0, _TILE // block, block,
    )  # fmt: skip
    return out
