"""Weights instead of a choice: phases that nearly tie, each with a share that vanishes as it falls behind.

Choosing the best phase is discontinuous: where two nearly tie, a little noise selects the other. No continuous choice exists
(a circle of shifts cannot be cut without a seam), but weights over several choices can be both equivariant and continuous
(weighted frames; Dym, Lawrence and Siegel, 2024, arXiv 2402.16077). A phase of energy E has the weight

    max(0, E - (1 - share) E_max), divided by the sum of all,

so one enters at weight zero, and leaves so. Energies are the paper's (section 4.1, l2), added as integers: bit-identical
under every shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mass.axes import Pair
from mass.errors import as_pair, check_divides, check_map
from mass.functional.origin.select import BITS, chunk_of, phase_sum, scaled


def phase_energies(x: Tensor, period: int | tuple[int, int]) -> Tensor:
    """The energy of every phase, up to one power of two for each image; bit-identical, but permuted, under every shift.

    Shape: x (B, C, H, W), the period divides H and W -> (B, P_h * P_w) float64, row by row. Carries no gradient.

    Values are rounded to 30 bits of the image's largest; their squares, of which the last 2^-30 are left out, add up exactly.

    Raises:
        TypeError, ValueError: as `select_origin`.

    >>> x = torch.zeros(1, 1, 2, 2); x[..., 0, 0], x[..., 1, 1] = 2., 1.
    >>> energies = phase_energies(x, 2); energies / energies.max()
    tensor([[1.0000, 0.0000, 0.0000, 0.2500]], dtype=torch.float64)
    """
    check_map(x)
    pair = as_pair(period)
    check_divides(x, pair)
    chunks = x.detach().split(chunk_of(x))
    return torch.cat([_energies(chunk, pair) for chunk in chunks])


def _energies(x: Tensor, period: Pair) -> Tensor:
    x = x.nan_to_num(nan=0.0)
    values = scaled(x if x.dtype == torch.float64 else x.float()).double()
    high = values.round()
    low = values.sub_(high).mul_(2.0**BITS).round_()
    products = phase_sum(low.mul_(high), period).double()
    return phase_sum(high.square_(), period).double() + products * 2.0 ** (1 - BITS)


def phase_weights(energies: Tensor, share: float) -> Tensor:
    """The weight of every phase: continuous in the energies, zero for those that lie `share` of the best behind it.

    Shape: (B, P) float64 -> (B, P) float64; rows add up to 1. Where all are zero, all weigh the same.

    >>> phase_weights(torch.tensor([[1.0, 0.98, 0.5]], dtype=torch.float64), 0.04)
    tensor([[0.6667, 0.3333, 0.0000]], dtype=torch.float64)
    """
    best = energies.amax(1, keepdim=True)
    above = (energies - (1 - share) * best).clamp(min=0.0)
    above = torch.where(best > 0, above, 1.0)
    return above / above.sort(1).values.sum(1, keepdim=True)  # sorted: a sum that no order of phases changes
