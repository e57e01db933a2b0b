"""Origin selection: where to start sampling, read off the features themselves (paper, section 4.1).

`select_origin(x, P)` returns, per image, the polyphase component o in [0, P)^2 that the rule likes best (the paper:
of largest l2 norm). It is covariant, h(S_t x) = h(x) - t (mod P), and *exactly* so:

* energies are sums of integers (|x| rounded to 15 bits, then the next 15), hence the same in any order;
* phases that tie are told apart by their layout (`mass.functional.origin.position_hash`), never by their index;
* what ties even then is a symmetry of the image, and every choice gives the same result up to that symmetry: the same
  one for all origins of a network, which choose nearest to one place of its input.

In a network a tie is broken by the network's own input (`source`): all features are functions of it, so whatever
breaks a symmetry on any branch shows there. Energies are cheap and nearly always decide; on the CPU a layout
is computed only for ties.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mass import native
from mass.axes import Pair
from mass.errors import as_pair, check_divides, check_map
from mass.functional.exact import power_of_two_scale
from mass.functional.origin.position_hash import mix, pixel_hash
from mass.functional.origin.position_rank import compared_everywhere, compares_layouts, read_layout
from mass.functional.origin.seam import seam_key

RULES = ("l2", "l1", "linf", "variance", "random", "seam", "peak")
"""The selection rules that `select_origin` and `mass.convert` take by name."""

BITS = 15
_CHUNK = 1 << 20  # elements worked on at once on the CPU: the temporaries stay in cache


def _to_phases(x: Tensor, period: tuple[int, int]) -> Tensor:
    """(B, H, W) -> (B, H/P, W/P, P * P): the values of each phase, phases last."""
    batch, height, width = x.shape
    (p, q) = period
    blocks = x.view(batch, height // p, p, width // q, q)
    return blocks.permute(0, 1, 3, 2, 4).reshape(batch, height // p, width // q, p * q)


def phase_sum(x: Tensor, period: tuple[int, int]) -> Tensor:
    """Exact sums of integers held in float64, (B, C, H, W) -> (B, P * P) int64.

    Exact while a pixel's sum over channels stays below 2^53 and a phase's below 2^63.
    """
    return _to_phases(x.sum(1).long(), period).sum((1, 2))


def scaled(x: Tensor) -> Tensor:
    """|x| times the power of two that brings the image's maximum into [2^14, 2^15); float32 (float64 for float64).

    A maximum below 2^-100 counts as zero.
    """
    flat = x.flatten(1)
    largest = torch.maximum(flat.amax(1), -flat.amin(1))
    scale = power_of_two_scale(largest, BITS)
    scale = torch.where(largest < 2.0**-100, 0.0, scale).view(-1, 1, 1, 1)
    return x.abs().mul_(scale.to(x.dtype))


def blurred_power(x: Tensor, passes: int = 1) -> Tensor:
    """The squares of a map's values, summed over channels and blurred around the borders, as integers.

    Shape: (B, C, H, W) -> (B, 1, H, W) float64. A pass weighs neighbours 1 : 2 : 1 along both axes, and rounds.
    """
    power = scaled(x).round().double().square().sum(1, keepdim=True)
    for _ in range(passes):
        for axis in (2, 3):
            power = 2 * power + power.roll(1, axis) + power.roll(-1, axis)
        power = power.mul_(2.0**-4).round_()
    return power


def _keys(
    x: Tensor, period: tuple[int, int], rule: str, source: Tensor, source_origin: Tensor | None
) -> Iterator[Tensor]:
    """What phases are compared by, most important first: tensors (B, P * P), larger is better."""
    x = x.nan_to_num(nan=0.0)
    x = x if x.dtype == torch.float64 else x.float()
    if rule == "linf":
        yield _to_phases(x.abs().amax(1), period).amax((1, 2))
    elif rule == "peak":
        yield _to_phases(blurred_power(x)[:, 0], period).amax((1, 2))
    elif rule == "random":
        yield _to_phases(mix(pixel_hash(x)), period).sum((1, 2))
    elif rule == "seam":
        image = source.nan_to_num(nan=0.0)
        image = image if image.dtype == torch.float64 else image.float()
        stride = source.shape[2] // x.shape[2], source.shape[3] // x.shape[3]
        yield seam_key(scaled(image).round().copysign(image), source_origin, stride, period)
    else:
        values = scaled(x)
        high = values.round()  # the first 15 bits
        if rule == "l2":
            yield phase_sum(high.double().square(), period)
        elif rule == "l1":
            yield phase_sum(high.double(), period)
        else:
            total = phase_sum(high.copysign(x).double(), period).double()
            power = phase_sum(high.double().square(), period).double()
            yield power * (x[0].numel() // power.shape[1]) - total.square()
        low = values.sub_(high).mul_(2.0**BITS).round_().double()  # the next 15: an outlier must not erase the rest
        yield phase_sum(low.abs_() if rule == "l1" else low.square_(), period)
    yield from layout_keys(x, period, source, source_origin)


def layout_keys(x: Tensor, period: Pair, source: Tensor, source_origin: Tensor | None) -> Iterator[Tensor]:
    """What phases of equal energy are told apart by, (B, P * P) each: how the source reads from them, then a place of it.

    Shape: x (B, C, H, W), source (B, C', S * H, S * W), source_origin (B, 2) or None, for (0, 0).
    """
    layout = layout_of_source = read_layout(source)
    if source_origin is not None:
        layout = torch.ops.mass.shift(layout[:, None], source_origin)[:, 0]
    stride_h, stride_w = source.shape[2] // x.shape[2], source.shape[3] // x.shape[3]
    read = _to_phases(layout[:, ::stride_h, ::stride_w].contiguous(), period)
    largest = read.amax((1, 2))
    yield largest
    distance = _to_phases(_from_anchor(layout_of_source, source_origin, (stride_h, stride_w)), period)
    yield -distance.masked_fill(read != largest[:, None, None], torch.iinfo(torch.int64).max).amin((1, 2))


def _from_anchor(layout: Tensor, origin: Tensor | None, stride: tuple[int, int]) -> Tensor:
    """How far behind one place of the source, row by row, the positions of a map on its lattice lie, (B, h, w) int64.

    The place is the first whose layout is largest. In a symmetric image there are several such; every origin of the
    network then breaks its ties by the same one of them, so that its parts cannot disagree.
    """
    height, width = layout.shape[1:]
    place = layout.flatten(1).argmax(1)
    start = torch.stack((place // width, place % width), 1)
    start = -start if origin is None else origin - start
    rows = (torch.arange(0, height, stride[0], device=layout.device) + start[:, :1]) % height
    columns = (torch.arange(0, width, stride[1], device=layout.device) + start[:, 1:]) % width
    return rows[:, :, None] * width + columns[:, None]


def _best(x: Tensor, period: tuple[int, int], rule: str, source: Tensor, source_origin: Tensor | None) -> Tensor:
    alive = torch.ones(x.shape[0], period[0] * period[1], dtype=torch.bool, device=x.device)
    for key in _keys(x, period, rule, source, source_origin):
        lowest = torch.finfo(key.dtype).min if key.is_floating_point() else torch.iinfo(key.dtype).min
        key = key.masked_fill(~alive, lowest)
        alive &= key == key.amax(1, keepdim=True)
        # The host may look at its own memory; on an accelerator looking would synchronise, so all keys are used.
        if compares_layouts(x.device) and bool((alive.sum(1) == 1).all()):
            break
    phase = alive.int().argmax(1)
    return torch.stack((phase // period[1], phase % period[1]), 1)


def _choose(
    x: Tensor, period_h: int, period_w: int, rule: str, source: Tensor | None, source_origin: Tensor | None
) -> Tensor:
    period = period_h, period_w
    if rule == "l2" and not compared_everywhere():
        chosen = native.device_origin(x, period, source, source_origin)  # by hashes
        if chosen is not None:
            return chosen
    found = native.origins(x, period) if rule == "l2" else None
    if found is None:
        return _by_keys(x, period, rule, source, source_origin)
    origin, undecided, _ = found
    if undecided is not None:
        rest = (t if t is None else t[undecided] for t in (source, source_origin))
        origin[undecided] = _by_keys(x[undecided], period, rule, *rest)
    return origin


def chunk_of(x: Tensor) -> int:
    """How many images are worked on at once."""
    return max(1, _CHUNK // x[0].numel()) if x.device.type == "cpu" else len(x)


def _by_keys(
    x: Tensor, period: tuple[int, int], rule: str, source: Tensor | None, source_origin: Tensor | None
) -> Tensor:
    chunk = chunk_of(x)
    origins = []
    for start in range(0, x.shape[0], chunk):
        part = slice(start, start + chunk)
        reading = (x if source is None else source)[part], None if source_origin is None else source_origin[part]
        origins.append(_best(x[part], period, rule, *reading))
    return torch.cat(origins)


_select_origin = torch.library.custom_op("mass::select_origin", _choose, mutates_args=())


@_select_origin.register_fake
def _(x: Tensor, period_h: Any, period_w: Any, rule: Any, source: Any, source_origin: Any) -> Tensor:
    return x.new_empty((x.shape[0], 2), dtype=torch.int64)


@_select_origin.register_vmap
def _(info: Any, in_dims: Any, x: Any, period_h: Any, period_w: Any, rule: Any, source: Any, source_origin: Any) -> Any:
    def fold(t: Tensor | None, dim: int | None) -> Tensor | None:
        if t is None:
            return None
        return (t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)

    folded = _select_origin(
        fold(x, in_dims[0]), period_h, period_w, rule, fold(source, in_dims[4]), fold(source_origin, in_dims[5])
    )
    return folded.unflatten(0, (info.batch_size, -1)), 0


def select_origin(
    x: Tensor,
    period: int | tuple[int, int],
    rule: str = "l2",
    *,
    source: Tensor | None = None,
    source_origin: Tensor | None = None,
) -> Tensor:
    """The sampling origin h(x) of each image, covariant with circular shifts (paper, section 4.1, step 1).

    Shape:
        x (B, C, H, W), float16, bfloat16, float32 or float64; the period divides H and W
        -> (B, 2) int64, (row, column) in [0, period). Carries no gradient.

    Args:
        period: the operation's period, an int or a pair (rows, columns); for a convolution or pool, its stride.
        rule: what makes a phase the best one: 'l2' (the paper's), 'l1', 'linf', 'variance', or 'random', an
            arbitrary choice that is covariant all the same (the phase whose content hashes largest), or 'seam', the
            phase of the row and column at which the source, wrapped, is most discontinuous (mass.functional.origin.seam), or 'peak',
            the phase in which the blurred map has its largest value (Xu et al., 2021, arXiv 2106.05886).
        source: what breaks a tie, (B, C', S * H, S * W), of which `x` is a function; by default `x` itself.
        source_origin: (B, 2) int64, where in `source` position (0, 0) of `x` lies; by default (0, 0).

    Raises:
        TypeError, ValueError: for another rank, an integer map, an empty batch, a period of 0 or one that does not
            divide the size, an unknown rule, a source that does not hold these images at a multiple of their size, a
            source_origin of another shape or dtype, or without a source.

    >>> x = torch.zeros(1, 1, 4, 4); x[..., 2, 3] = 1.
    >>> select_origin(x, 2)                                    # the bright pixel lies in phase (0, 1)
    tensor([[0, 1]])
    >>> select_origin(x.roll((-1, -1), (2, 3)), 2)             # moved by one, its phase moves along
    tensor([[1, 0]])
    """
    check_map(x)
    pair = as_pair(period)
    check_divides(x, pair)
    check_rule(rule)
    if source is not None:
        _check_source(x, source, source_origin)
        source = source.detach()
    elif source_origin is not None:
        raise ValueError("source_origin says where x begins in the source; give source= too, or neither.")
    arguments = x.detach(), *pair, rule, source, source_origin
    unobserved = native.unobserved(x.detach(), source, source_origin)
    return _choose(*arguments) if unobserved else _select_origin(*arguments)


def check_rule(rule: str) -> None:
    """Refuse what is none of `RULES`."""
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; choose one of {', '.join(RULES)}.")


def _check_source(x: Tensor, source: Tensor, source_origin: Tensor | None) -> None:
    check_map(source)
    if source.shape[0] != x.shape[0] or source.shape[2] % x.shape[2] or source.shape[3] % x.shape[3]:
        raise ValueError(
            f"source {tuple(source.shape)} must hold the images of x {tuple(x.shape)}, a multiple of its size."
        )
    if source_origin is not None and (source_origin.shape != (x.shape[0], 2) or source_origin.dtype != torch.int64):
        raise ValueError(f"source_origin must be int64 of shape ({x.shape[0]}, 2), got {tuple(source_origin.shape)}.")


def margin(x: Tensor, period: int | tuple[int, int]) -> Tensor:
    """How far the best phase is ahead of the second best: (E1 - E2) / E1 of their energies, 0 for a tie.

    A diagnostic of how near a flip other methods come; MASS itself breaks ties, of margin 0 (docs/design.md, "Exactness").

    Shape: x (B, C, H, W) -> (B,) float64; 1 where there is a single phase.

    >>> x = torch.zeros(1, 1, 2, 2); x[..., 0, 0], x[..., 1, 1] = 2., 1.
    >>> margin(x, 2)
    tensor([0.7500], dtype=torch.float64)
    """
    check_map(x)
    pair = as_pair(period)
    check_divides(x, pair)
    energies = _to_phases(x.detach().double().square().sum(1), pair).sum((1, 2))
    if energies.shape[1] == 1:
        return torch.ones(len(x), dtype=torch.float64, device=x.device)
    best = energies.topk(2, 1).values
    return torch.where(best[:, 0] > 0, (best[:, 0] - best[:, 1]) / best[:, 0], 0.0)
