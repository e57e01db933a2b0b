"""The rule 'l2' (mass.functional.origin.select) in three kernels: each image's largest value, its phases' energies, the choice.

Ties are broken by the third: one program per image, which first adds up the next 15 bits and then hashes the layout of
the source (mass.functional.origin.position_hash), step by step as PyTorch does. An image without a tie leaves at once, so ties alone pay.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,unused-ignore]
from torch import Tensor

from mass.native import splitmix

_TILE = 4096  # elements that a program reads at once
_WARPS = 8
_PROGRAMS = 2048  # to share a map among: several for each of a GPU's multiprocessors
_BLOCK = 1024  # elements that the choice reads at once
_SLOTS = 4  # layouts that are hashed at one time
MOST_PHASES = 4096

GOLDEN, MIX_1, MIX_2 = (tl.constexpr(c) for c in (splitmix.GOLDEN, splitmix.MIX_1, splitmix.MIX_2))
_BITS = {  # an integer type, and in it: all but the sign, infinity, the NaN that stands for all
    torch.float16: (torch.int16, 0x7FFF, 0x7C00, 0x7E00),
    torch.bfloat16: (torch.int16, 0x7FFF, 0x7F80, 0x7FC0),
    torch.float32: (torch.int32, 0x7FFFFFFF, 0x7F800000, 0x7FC00000),
}


@triton.jit
def _magnitude(values, limit):  # type: ignore[no-untyped-def]
    """|x| in float32; NaN counts as 0, infinity as the dtype's largest number."""
    values = tl.abs(values.to(tl.float32))
    return tl.minimum(tl.where(values == values, values, 0.0), limit)  # noqa: PLR0124


@triton.jit
def _scale(largest):  # type: ignore[no-untyped-def]
    """2^14 over the power of two in a float32's bits; 0 below 2^-100."""
    exponent = (largest >> 23).to(tl.int32)
    return tl.where(exponent < 27, 0.0, ((268 - exponent) << 23).to(tl.float32, bitcast=True))


@triton.jit
def _rounded(values):  # type: ignore[no-untyped-def]
    """The nearest integer, halves to even, read off the bits of the sum with 1.5 * 2^23."""
    return (values + 12582912.0).to(tl.int32, bitcast=True) - 0x4B400000


@triton.jit
def _largest(x, largest, odd, size, share, limit, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    """The bits of an image's largest magnitude, which are ordered as numbers are; `odd` is 1 of an image that is not finite."""
    image, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * share
    last = tl.minimum(first + share, size)
    found = tl.zeros([TILE], tl.int32)
    for start in range(first, last, TILE):
        i = start + tl.arange(0, TILE)
        values = tl.load(x + image * size + i, i < last, other=0.0).to(tl.float32)
        found = tl.maximum(found, values.to(tl.int32, bitcast=True) & 0x7FFFFFFF)
    best = tl.max(found, 0)
    if best >= 0x7F800000:  # infinity, or NaN: seldom, so that all else pays nothing for it
        magnitudes = tl.zeros([TILE], tl.float32)
        for start in range(first, last, TILE):
            i = start + tl.arange(0, TILE)
            magnitudes = tl.maximum(magnitudes, _magnitude(tl.load(x + image * size + i, i < last, other=0.0), limit))
        best = tl.max(magnitudes, 0).to(tl.int32, bitcast=True)
        tl.atomic_max(odd + image, tl.full([], 1, tl.int64))
    tl.atomic_max(largest + image, best.to(tl.int64))


@triton.jit
def _energies(  # type: ignore[no-untyped-def]
    x, largest, odd, sums, groups, line, unit, share, P, Q, limit, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    image, p = tl.program_id(0).to(tl.int64), tl.program_id(1) % P
    column = tl.program_id(1) // P * COLUMNS + tl.arange(0, COLUMNS)
    first = tl.program_id(2) * share
    last = tl.minimum(first + share, groups)
    scale = _scale(tl.load(largest + image))
    finite = tl.load(odd + image) == 0
    energy = tl.zeros([ROWS, COLUMNS], tl.int64)
    base = x + image * groups * P * line + column[None, :]
    for start in range(first, last, ROWS):
        group = start + tl.arange(0, ROWS)
        inside = (group < last)[:, None] & (column < line)[None, :]
        values = tl.load(base + ((group * P + p) * line)[:, None], inside, other=0.0)
        if finite:  # noqa: SIM108  a branch; an expression would compute both
            magnitude = tl.abs(values.to(tl.float32))
        else:
            magnitude = _magnitude(values, limit)
        high = _rounded(magnitude * scale).to(tl.int64)
        energy += high * high
    energies, phase = tl.sum(energy, 0), column // unit % Q
    for q in range(Q):
        tl.atomic_add(sums + (image * P + p) * Q + q, tl.sum(tl.where(phase == q, energies, 0), 0))


@triton.jit
def _mix(z):  # type: ignore[no-untyped-def]
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * MIX_1
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * MIX_2
    return z ^ ((z >> 31) & 0x1FFFFFFFF)


@triton.jit
def _low_energies(  # type: ignore[no-untyped-def]
    x, high, low, best, scale, channels, height, width, step_c, step_h, step_w, P, Q, limit, BLOCK: tl.constexpr
):
    """Of the phases that tie, energies of the next 15 bits; -1 of the others. `x` is one image."""
    tall, wide = height // P, width // Q
    for phase in range(P * Q):
        if tl.load(high + phase) == best:
            energy = tl.zeros([BLOCK], tl.int64)
            for start in range(0, channels * tall * wide, BLOCK):
                i = start + tl.arange(0, BLOCK)
                row, column = i // wide % tall * P + phase // Q, i % wide * Q + phase % Q
                place = i // wide // tall * step_c + row * step_h + column * step_w
                values = tl.load(x + place, i < channels * tall * wide, other=0.0)
                scaled = _magnitude(values, limit) * scale
                bits = _rounded((scaled - _rounded(scaled).to(tl.float32)) * 32768.0).to(tl.int64)
                energy += bits * bits
            tl.store(low + phase, tl.sum(energy, 0))
        else:
            tl.store(low + phase, -1)
    tl.debug_barrier()


@triton.jit
def _hash_pixels(  # type: ignore[no-untyped-def]
    source, hashes, channels, height, width, step_c, step_h, step_w, unsigned, infinity, nan, BLOCK: tl.constexpr
):
    for start in range(0, height * width, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = i // width * step_h + i % width * step_w
        total, which = tl.zeros([BLOCK], tl.int64), tl.zeros([BLOCK], tl.int64)
        for channel in range(channels):
            bits = tl.load(source + place + channel * step_c, i < height * width, other=0).to(tl.int64)
            size = bits & unsigned
            bits = tl.where(size > infinity, nan, tl.where(size == 0, 0, bits))
            which += GOLDEN
            total += _mix(bits + which)
        tl.store(hashes + i, _mix(total), i < height * width)
    tl.debug_barrier()


@triton.jit
def _double(hashes, here, count, line, turn, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Combine the hash at each position with that 1, 2, 4, … further on its circle, until they span it.

    A circle is of `turn` positions, `line` apart. Two buffers take turns, at 0 and `count`: the hashes lie at `here`, and
    then at what is returned.
    """
    jump = tl.full([], 1, tl.int32)
    while jump < turn:
        for start in range(0, count, BLOCK):
            i = start + tl.arange(0, BLOCK)
            on = i // line % turn
            other = i + tl.where(on + jump >= turn, jump - turn, jump) * line
            first = tl.load(hashes + here + i, i < count, other=0)
            second = tl.load(hashes + here + other, i < count, other=0)
            tl.store(hashes + (count - here) + i, _mix(_mix(first) * GOLDEN + second), i < count)
        tl.debug_barrier()
        here = count - here
        jump *= 2
    return here


@triton.jit
def _by_layout(  # type: ignore[no-untyped-def]
    hashes, low, best, at_row, at_column, height, width, source_height, source_width, P, Q, BLOCK: tl.constexpr
):
    """The phase, among those whose low energy is best, that mass.functional.origin.select's last two keys choose."""
    count = source_height * source_width
    largest = tl.full([BLOCK], -(1 << 63), tl.int64)
    for start in range(0, count, BLOCK):
        i = start + tl.arange(0, BLOCK)
        largest = tl.maximum(largest, tl.load(hashes + i, i < count, other=-(1 << 63)))
    anchor_hash = tl.max(largest, 0)
    anchor_place = tl.full([BLOCK], 1 << 31, tl.int64)
    for start in range(0, count, BLOCK):
        i = start + tl.arange(0, BLOCK)
        found = (i < count) & (tl.load(hashes + i, i < count, other=0) == anchor_hash)
        anchor_place = tl.minimum(anchor_place, tl.where(found, i.to(tl.int64), 1 << 31))
    anchor = tl.min(anchor_place, 0)

    step_h, step_w = source_height // height, source_width // width
    largest = tl.full([BLOCK], -(1 << 63), tl.int64)
    for start in range(0, height * width, BLOCK):
        i = start + tl.arange(0, BLOCK)
        phase = i // width % P * Q + i % width % Q
        alive = (i < height * width) & (tl.load(low + phase) == best)
        place = (i // width * step_h + at_row) % source_height * source_width + (
            i % width * step_w + at_column
        ) % source_width
        largest = tl.maximum(largest, tl.load(hashes + place, alive, other=-(1 << 63)))
    layout = tl.max(largest, 0)
    nearest = tl.full([BLOCK], (1 << 63) - 1, tl.int64)
    for start in range(0, height * width, BLOCK):
        i = start + tl.arange(0, BLOCK)
        phase = i // width % P * Q + i % width % Q
        alive = (i < height * width) & (tl.load(low + phase) == best)
        row, column = (i // width * step_h + at_row) % source_height, (i % width * step_w + at_column) % source_width
        alive = alive & (tl.load(hashes + row * source_width + column, alive, other=0) == layout)
        down = (row - anchor // source_width + source_height) % source_height
        right = (column - anchor % source_width + source_width) % source_width
        code = (down * source_width + right) * (P * Q) + phase
        nearest = tl.minimum(nearest, tl.where(alive, code, (1 << 63) - 1))
    return (tl.min(nearest, 0) % (P * Q)).to(tl.int32)


@triton.jit
def _choose(  # type: ignore[no-untyped-def]
    x, largest, sums, lows, source, source_origin, origin, hashes, locks, slots, limit,
    channels, height, width, step_b, step_c, step_h, step_w,
    source_channels, source_height, source_width, source_b, source_c, source_h, source_w,
    unsigned, infinity, nan, P, Q, PLACED: tl.constexpr, PHASES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    phases = tl.arange(0, PHASES)
    high, low = sums + image * (P * Q), lows + image * (P * Q)
    energies = tl.load(high + phases, phases < P * Q, other=-1)
    best = tl.max(energies, 0)
    phase = tl.min(tl.where(energies == best, phases, PHASES), 0)
    if tl.sum((energies == best).to(tl.int32), 0) > 1:
        scale = _scale(tl.load(largest + image))
        _low_energies(
            x + image * step_b,
            high,
            low,
            best,
            scale,
            channels,
            height,
            width,
            step_c,
            step_h,
            step_w,
            P,
            Q,
            limit,
            BLOCK,
        )
        energies = tl.load(low + phases, phases < P * Q, other=-1)
        best = tl.max(energies, 0)
        phase = tl.min(tl.where(energies == best, phases, PHASES), 0)
        if tl.sum((energies == best).to(tl.int32), 0) > 1:
            slot, free = image % slots, tl.full([], 0, tl.int64)
            while tl.atomic_cas(locks + slot, free, free + 1) == 1:
                pass
            count = source_height * source_width
            hashes += slot * 2 * count
            _hash_pixels(
                source + image * source_b, hashes, source_channels, source_height, source_width,
                source_c, source_h, source_w, unsigned, infinity, nan, BLOCK,
            )  # fmt: skip
            here = _double(hashes, count * 0, count, 1, source_width, BLOCK)
            here = _double(hashes, here, count, source_width, source_height, BLOCK)
            at_row, at_column = tl.zeros([], tl.int64), tl.zeros([], tl.int64)
            if PLACED:
                at_row = (tl.load(source_origin + 2 * image) % source_height + source_height) % source_height
                at_column = (tl.load(source_origin + 2 * image + 1) % source_width + source_width) % source_width
            phase = _by_layout(
                hashes + here, low, best, at_row, at_column, height, width, source_height, source_width, P, Q, BLOCK
            )
            tl.debug_barrier()
            tl.atomic_xchg(locks + slot, free)
    tl.store(origin + 2 * image, (phase // Q).to(tl.int64))
    tl.store(origin + 2 * image + 1, (phase % Q).to(tl.int64))


def select_origin(
    x: Tensor, period: tuple[int, int], source: Tensor | None = None, source_origin: Tensor | None = None
) -> Tensor | None:
    """Origins of the rule 'l2', ties broken as in mass.functional.origin.select; None where it is not served: float64, gaps, many phases.

    Shape: x (B, C, H, W), source (B, C', S * H, S * W), source_origin (B, 2) int64 -> (B, 2) int64.
    """
    source = x if source is None else source
    last = not x.is_contiguous()
    (p, q), (batch, channels, height, width), size = period, x.shape, x[0].numel()
    if (
        (last and not x.is_contiguous(memory_format=torch.channels_last))
        or not {x.dtype, source.dtype} <= set(_BITS)
        or p * q > MOST_PHASES
        or max(size, source[0].numel()) >= 1 << 31
    ):
        return None
    limit = torch.finfo(x.dtype).max
    work = torch.zeros(batch * (2 * p * q + 2) + _SLOTS, dtype=torch.int64, device=x.device)
    sums, lows, largest, odd, locks = work.split([batch * p * q, batch * p * q, batch, batch, _SLOTS])

    share = triton.cdiv(triton.cdiv(size, max(1, _PROGRAMS // batch)), _TILE) * _TILE
    _largest[(batch, triton.cdiv(size, share))](x, largest, odd, size, share, limit, _TILE, num_warps=_WARPS)

    # A line lies together in memory, all of one row phase; columns repeat their phases in every line.
    lines, line, unit = (height, width * channels, channels) if last else (channels * height, width, 1)
    columns = min(triton.next_power_of_2(line), _TILE)
    rows, blocks = _TILE // columns, p * triton.cdiv(line, columns)
    share = triton.cdiv(triton.cdiv(lines // p, max(1, _PROGRAMS // (batch * blocks))), rows) * rows
    _energies[(batch, blocks, triton.cdiv(lines // p, share))](
        x, largest, odd, sums, lines // p, line, unit, share, p, q, limit, rows, columns, num_warps=_WARPS
    )

    origin = torch.empty(batch, 2, dtype=torch.int64, device=x.device)
    hashes = torch.empty(min(batch, _SLOTS) * 2 * source[0, 0].numel(), dtype=torch.int64, device=x.device)
    integer, unsigned, infinity, nan = _BITS[source.dtype]
    placed = None if source_origin is None else source_origin.contiguous()
    _choose[(batch,)](
        x, largest, sums, lows, source.view(integer), placed, origin, hashes, locks, min(batch, _SLOTS), limit,
        channels, height, width, *x.stride(), *source.shape[1:], *source.stride(),
        unsigned, infinity, nan, p, q, placed is not None, triton.next_power_of_2(p * q), _BLOCK,
    )  # fmt: skip
    return origin
