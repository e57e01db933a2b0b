"""Certificates: does this model give the same output for these images wherever they lie?

A converted network is exact by construction, up to the kernels it runs on. `certify` checks the construction and the
kernels together, bit by bit: all residues of the total stride, each with a random multiple of it added. Shifts
are compared at equal batch size with each image in the same row, because kernels may treat rows differently.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mass.axes import POSITIONS, Dims, as_map, on_maps, sizes_along
from mass.errors import as_pair, check_batch
from mass.evaluate.batches import not_finite
from mass.evaluate.origins import RecordedOrigin, record_origins
from mass.functional.origin import margin
from mass.functional.position_rank import read_layout
from mass.functional.shift import shift
from mass.nn.alignment import SelectOrigin
from mass.nn.evaluating import evaluating

# Above this share of the largest output another grid was picked; below it the same numbers were rounded differently.
_GROSS = 1e-3


@dataclass
class Certificate:
    """What `certify` found, per image.

    Attributes:
        identical: bool (B,): every output equal, bit for bit, under every shift tried.
        max_difference: float64 (B,): largest absolute difference of an output; NaN where outputs are not finite.
        margin: float64 (B,): smallest relative gap between the best and the second-best phase over all origins chosen
            (a diagnostic: how near a flip the energies alone came); NaN where the model chooses none.
        symmetry: per image None, or the translation symmetry of the input up to which a dense output is equivariant.
        shifts: the shifts tried.
        verdict: the same in one sentence.
    """

    identical: Tensor
    max_difference: Tensor
    margin: Tensor
    symmetry: list[tuple[int, int] | None]
    shifts: list[tuple[int, int]]
    verdict: str

    def __str__(self) -> str:
        margins = self.margin[self.margin.isfinite()]
        lines = [
            self.verdict,
            f"  images            {len(self.identical)}, identical: {int(self.identical.sum())}",
            f"  circular shifts   {len(self.shifts)} each",
            f"  max difference    {self.max_difference.max().item():.3g}",
        ]
        if len(margins):
            lines.append(f"  smallest margin   {margins.min().item():.2g}")
        return "\n".join(lines)

    __repr__ = __str__


def all_residues(size: tuple[int, int], stride: tuple[int, int]) -> list[tuple[int, int]]:
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


def _given(shifts: int | Iterable[tuple[int, int]], size: tuple[int, int]) -> list[tuple[int, int]]:
    """So many random shifts, or those that were given."""
    if isinstance(shifts, int):
        generator = torch.Generator().manual_seed(0)
        draw = [torch.randint(n, (max(shifts, 0),), generator=generator).tolist() for n in size]
        tried = list(zip(*draw, strict=True))
    else:
        tried = [tuple(pair) if isinstance(pair, Iterable) else () for pair in shifts]
    if not tried:
        raise ValueError("no shifts were given; give at least one, or None for all residues.")
    if any(len(pair) != 2 for pair in tried):
        raise TypeError("shifts must be None, an int, or pairs (rows, columns).")
    return [(int(pair[0]), int(pair[1])) for pair in tried]


def _tensors(output: object, dims: Dims = (2, 3)) -> list[Tensor]:
    """All tensors of a structured output; those with an input's axes of positions as maps, label maps as of one channel."""
    if isinstance(output, Tensor):
        if dims != (2, 3) and POSITIONS.get(output.ndim) == dims:
            return [as_map(output, dims)]
        return [output[:, None] if output.ndim == 3 and len(dims) == 2 else output]
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return [tensor for value in values for tensor in _tensors(value, dims)]


def _candidates(y: Tensor, size: tuple[int, int], t: tuple[int, int]) -> Iterable[Tensor]:
    """What `y` may have become under an input shift by t: itself, for logits; moved along, for a dense output.

    An output of stride r lies on a lattice whose origin is not told: k = (t + O' - O) / r with O, O' in [0, r).
    """
    if y.ndim != 4 or y.shape[2:] == (1, 1) or size[0] % y.shape[2] or size[1] % y.shape[3]:
        yield y
        return
    r = size[0] // y.shape[2], size[1] // y.shape[3]
    rows, columns = (range((t[a] - r[a]) // r[a] + 1, (t[a] + r[a] - 1) // r[a] + 1) for a in (0, 1))
    for k in itertools.product(rows, columns):
        yield _roll(y, k)


def _shifted(images: Tensor, t: tuple[int, int]) -> Tensor:
    by = torch.tensor(t, device=images.device)
    return on_maps(lambda maps: shift(maps, by), images, POSITIONS[images.ndim])


def _roll(y: Tensor, by: tuple[int, int]) -> Tensor:
    return y.roll((-by[0], -by[1]), (2, 3))


def _same(a: Tensor, b: Tensor) -> Tensor:
    return ((a == b) | (a.isnan() & b.isnan())).flatten(1).all(1).cpu()


def _symmetries(x: Tensor) -> list[tuple[int, int]]:
    """Circular shifts, other than none, that leave one image (1, C, H, W) as it is: the nearest first."""
    layout = read_layout(x)[0]
    height, width = layout.shape
    found = [(i, j) for i, j in (layout == layout[0, 0]).nonzero().tolist() if (i, j) != (0, 0)]
    return sorted(found, key=lambda g: (min(g[0], height - g[0]) + min(g[1], width - g[1]), g))


def certify(model: nn.Module, images: Tensor, shifts: int | Iterable[tuple[int, int]] | None = None) -> Certificate:
    """Compare a model's outputs, bit by bit, on images and on their circular shifts.

    Args:
        model: any model; evaluated in eval mode without gradients. Outputs (B, classes) must stay, dense outputs
            (B, C, H, W) must move along, coarser maps must move along on their lattice.
        images: a batch (B, C, H, W); or videos (B, C, T, H, W), or signals (B, C, L), whose shifts are (0, t).
        shifts: None for all residues of the model's total stride (32 for a model that was not converted), each plus a
            random multiple of it; an int for so many random shifts; or pairs (rows, columns).

    Raises:
        TypeError, ValueError: for anything but a non-empty floating-point batch. NaN and infinity are reported
        in the certificate.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> bool(certify(model, torch.rand(2, 3, 16, 16), shifts=4).identical.any())
    False
    """
    check_batch(images)
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}.")
    dims = POSITIONS[images.ndim]
    size = sizes_along(images.shape, dims)
    stride = as_pair(getattr(model, "total_stride", (32, 32) if len(dims) > 1 else (1, 32)), "total_stride")
    tried = all_residues(size, stride) if shifts is None else _given(shifts, size)
    count = len(images)
    identical, difference = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.float64)
    symmetry: list[tuple[int, int] | None] = [None] * count
    explained = torch.ones(count, dtype=torch.bool)  # every deviation is one of the input's own symmetries
    own: dict[int, list[tuple[int, int]]] = {}  # the symmetries of images, as far as they are asked for
    worst: tuple[int, int] | None = None
    with evaluating(model):
        with record_origins(model, margin) as passes:
            reference = _tensors(model(images), dims)
        if any(len(y) not in (1, count) for y in reference):
            raise ValueError(
                f"the model returns {len(reference[0])} rows for {tuple(images.shape)}; for a single image add the batch axis."
            )
        for t in tried:
            moved = _tensors(model(_shifted(images, t)), dims)
            for y, z in zip(reference, moved, strict=True):
                same, distance = _compare(y, z, size, t)
                worst = t if (distance > difference).any() else worst
                difference = torch.maximum(difference, distance)
                for row in (~same & explained).nonzero().flatten().tolist():
                    if row not in own:
                        own[row] = _symmetries(as_map(images[row : row + 1], dims))
                    found = _own_symmetry(own[row], size, y[row : row + 1], z[row : row + 1], t)
                    known = [g for g in (symmetry[row], found) if g is not None]
                    symmetry[row] = min(known, key=own[row].index, default=None)
                    explained[row] &= found is not None
                identical &= same
    broken = sorted({*not_finite(images), *(row for y in reference if y.is_floating_point() for row in not_finite(y))})
    difference[broken] = torch.nan
    identical[broken] = False
    symmetry = [s if bool(explained[row]) else None for row, s in enumerate(symmetry)]
    largest = max((y.double().abs().nan_to_num(0, 0, 0).max().item() for y in reference), default=0.0)
    verdict = _verdict(
        identical, difference, symmetry, broken, worst, largest, len(tried), stride if shifts is None else None
    )
    return Certificate(identical, difference, _smallest_margin(model, passes[0], count), symmetry, tried, verdict)


def _compare(y: Tensor, z: Tensor, size: tuple[int, int], t: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Per image, whether an output is what the shift t should have made of it, and else by how much it is off."""
    same, least = torch.zeros(len(y), dtype=torch.bool), torch.full((len(y),), torch.inf, dtype=torch.float64)
    for expected in _candidates(y, size, t):
        same |= _same(expected, z)
        distance = (expected.double() - z.double()).abs().flatten(1).amax(1).cpu()
        least = torch.where(distance.isnan() | (distance < least), distance, least)
    return same, least.masked_fill(same, 0.0)


def _own_symmetry(
    symmetries: list[tuple[int, int]], size: tuple[int, int], y: Tensor, z: Tensor, t: tuple[int, int]
) -> tuple[int, int] | None:
    """The nearest symmetry g of an image for which its dense output moved by t + g instead of t."""
    if y.ndim != 4 or y.shape[2:] == (1, 1):
        return None
    for g in symmetries:
        by = (t[0] + g[0]) % size[0], (t[1] + g[1]) % size[1]
        if any(bool(_same(expected, z).all()) for expected in _candidates(y, size, by)):
            return g
    return None


def _verdict(
    identical: Tensor,
    difference: Tensor,
    symmetry: list[tuple[int, int] | None],
    broken: list[int],
    worst: tuple[int, int] | None,
    largest: float,
    tried: int,
    residues: tuple[int, int] | None,
) -> str:
    count = len(identical)
    extent = f"{tried} circular shifts" + (
        f" (all residues of the total stride {residues[0]} x {residues[1]})" if residues else ""
    )
    if broken:
        return f"NOT CERTIFIED: image {broken[0]} gives NaN or infinity ({len(broken)} of {count} images); nothing can be said of it."
    if bool(identical.all()):
        return f"CERTIFIED: bit-identical output for {count} of {count} images under {extent}."
    if all(bool(same) or g is not None for same, g in zip(identical, symmetry, strict=True)):
        row, g = next((row, g) for row, g in enumerate(symmetry) if g is not None)
        return (
            f"CERTIFIED up to the input's own symmetry: image {row} looks the same when moved by {g}, so no choice of origin is "
            f"equivariant for it; convert with symmetrise=True to average over such choices ({extent})."
        )
    changed = (
        f"{int((~identical).sum())} of {count} images change, by up to {difference.max().item():.3g} (shift {worst})"
    )
    if difference.max().item() <= _GROSS * largest:
        return (
            f"NOT CERTIFIED: {changed}, a matter of rounding: a kernel rounds differently by position. On the CPU set "
            "MKL_CBWR=AVX2,STRICT in the environment before Python starts, or use a PyTorch built with oneDNN."
        )
    return f"NOT CERTIFIED: {changed}: the model samples another grid when the image moves."


def _smallest_margin(model: nn.Module, found: list[RecordedOrigin], count: int) -> Tensor:
    """Per image, the smallest margin of the origins chosen by energies; NaN where none is."""
    selected = [origin.kept for origin in found if isinstance(model.get_submodule(origin.name), SelectOrigin)]
    margins = [kept.cpu() for kept in selected if len(kept) == count]
    return torch.stack(margins).amin(0) if margins else torch.full((count,), torch.nan, dtype=torch.float64)
