"""Which circular shifts are tried: all that a model can tell apart, or a sample of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from mass.axes import Pair
from mass.errors import as_pair, check_counts
from mass.evaluate.origins import RecordedOrigin
from mass.fx.network.converted import Converted
from mass.nn.graph.alignment import ChoosesOrigin, SelectOrigin

Shifts = list[Pair]
MOST = 4096  # residues that are all tried without being asked for
_EXPECTED = "shifts must be None, 'all', an int, or pairs (rows, columns) of ints"
_LEAST = 4  # rows and columns of residues at least: a network without strides has one, which would show little


def all_residues(size: Pair, stride: Pair) -> Shifts:
    """Every shift in [0, stride)^2, each with a random multiple of the stride added that stays within `size`."""
    generator = torch.Generator().manual_seed(0)
    shifts = []
    for i in range(min(stride[0], size[0])):
        for j in range(min(stride[1], size[1])):
            steps = [
                int(torch.randint(n // s or 1, (), generator=generator)) for n, s in zip(size, stride, strict=True)
            ]
            shifts.append((i + steps[0] * stride[0], j + steps[1] * stride[1]))
    return shifts


def told_apart(model: nn.Module, origins: list[RecordedOrigin], maps: list[Pair], size: Pair) -> Pair:
    """Shifts that differ by a multiple of this look the same to all origins of a model: what its residues are of.

    Args:
        origins: what the model chose in one pass, and `maps`: the height and width of what each was read off.

    An origin of period P on a map of h rows is one of P H / h positions of the input; one whose period is the whole map
    tells all shifts apart. So does, for all that is known, a model that was not converted, or that could not be heard, one that was
    anti-aliased alone, and one that keeps to the fixed grid where something reads the whole map.
    """
    inner = getattr(model, "_orig_mod", model)  # of a compiled model
    choosers = sum(isinstance(m, ChoosesOrigin) and m.chooses for m in inner.modules())
    if not isinstance(inner, Converted) or len({origin.name for origin in origins}) < choosers:
        return size
    if inner.mass_antialiased or any(_bound_to_the_frame(module) for module in inner.modules()):
        return size
    found = as_pair(inner.total_stride, "total_stride")
    for origin, shape in zip(origins, maps, strict=True):
        reach = [Fraction(n * p, h).numerator for n, p, h in zip(size, origin.period, shape, strict=True)]
        found = math.lcm(found[0], reach[0]), math.lcm(found[1], reach[1])
    rows, columns = (min(n, s * -(-_LEAST // s)) for n, s in zip(size, found, strict=True))
    return rows, columns


def _bound_to_the_frame(module: nn.Module) -> bool:
    """Whether a module of a network without choices answers shifts by multiples of the total stride each in its own way."""
    if isinstance(module, SelectOrigin):
        return not module.chooses and module.cells is not None
    return bool(getattr(module, "tells_all_shifts_apart", False))


def given_shifts(shifts: str | int | Iterable[Pair] | None) -> str | int | list[Any] | None:
    """Shifts as they were given, to be read more than once; a number of NumPy's as an int.

    Raises:
        TypeError: for what is neither a whole number nor several of anything.
    """
    if isinstance(shifts, str | bool | None):
        return shifts
    try:
        return operator.index(shifts)  # type: ignore[arg-type]
    except TypeError as error:  # an array has __index__, too
        if not isinstance(shifts, Iterable):
            raise TypeError(f"{_EXPECTED}, got {shifts!r}.") from error
        return list(shifts)


def shifts_to_try(
    shifts: str | int | Iterable[Pair] | None, size: Pair, residues: Pair, *, in_depth: bool = False
) -> Shifts:
    """All residues, a sample of them if there are too many, so many random shifts, or those that were given.

    Args:
        in_depth: whether each is moved in depth as well.

    Raises:
        TypeError: for shifts by fractions of a pixel.
        ValueError: for none, and for such as all leave the image where it is.
    """
    if isinstance(shifts, bool) or (isinstance(shifts, str) and shifts != "all"):
        raise ValueError(f"shifts must be None, 'all', an int, or pairs (rows, columns), got {shifts!r}.")
    if shifts is None or isinstance(shifts, str):
        if shifts is None and math.prod(residues) > MOST:
            return all_residues(size, (32, 32) if size[0] > 1 else (1, 1024))
        return all_residues(size, residues)
    if isinstance(shifts, int):
        check_counts(shifts=shifts)
        generator = torch.Generator().manual_seed(0)
        draw = [torch.randint(n, (shifts,), generator=generator).tolist() for n in size]
        tried = list(zip(*draw, strict=True))
    else:
        tried = [tuple(pair) if isinstance(pair, Iterable) else () for pair in shifts]
    if not tried:
        raise ValueError("no shifts were given; give at least one, or None for all residues.")
    if any(len(pair) != 2 for pair in tried):
        raise TypeError(f"{_EXPECTED}, [(1, 2)] for one, got {shifts!r}.")
    try:
        pairs = [(operator.index(pair[0]), operator.index(pair[1])) for pair in tried]
    except TypeError as error:
        raise TypeError(f"{_EXPECTED}, got {shifts!r}; a circular shift moves by whole pixels.") from error
    if not (isinstance(shifts, int) or in_depth or any(i % size[0] or j % size[1] for i, j in pairs)):
        whole = f"{size[0]} x {size[1]}"
        raise ValueError(
            f"every shift given is a whole turn of the image, {whole}, and moves nothing; give one that does."
        )
    return pairs


def are_all(tried: Shifts, residues: Pair) -> bool:
    """Whether these shifts meet every residue.

    >>> are_all([(0, 0), (3, 2), (0, 3), (1, 1)], (2, 2)), are_all([(0, 0)], (2, 2))
    (True, False)
    """
    return len({(i % residues[0], j % residues[1]) for i, j in tried}) == math.prod(residues)
