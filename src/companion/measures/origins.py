"""The origins that a converted network chooses, and the maps that it reads them from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mass.layers import SelectOrigin, as_map


def origin_maps(model: nn.Module, x: Tensor) -> list[tuple[Tensor, tuple[int, int]]]:
    """The maps (B, C, H, W) from which a converted network reads its origins, in graph order, each with its period."""
    found: list[tuple[Tensor, tuple[int, int]]] = []

    def read(module: SelectOrigin, args: tuple, output: Tensor) -> None:
        found.append((as_map(args[0], module.dims), module.period_of(args[0])))

    chosen = [m for m in model.modules() if isinstance(m, SelectOrigin)]
    handles = [m.register_forward_hook(read) for m in chosen]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def phase_energies(x: Tensor, period: tuple[int, int]) -> Tensor:
    """Sums of squares of each phase, in float64 and differentiable. Shape: (B, C, H, W) -> (B, P * Q)."""
    power = x.double().square().sum(1).unflatten(2, (-1, period[1])).unflatten(1, (-1, period[0]))
    return power.sum((1, 3)).flatten(1)


def origins_of(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The origins that a converted network selects for an image, in graph order, each (B, 2)."""
    found: list[Tensor] = []
    selectors = [m for m in model.modules() if isinstance(m, SelectOrigin)]
    handles = [m.register_forward_hook(lambda module, args, origin: found.append(origin)) for m in selectors]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found
