"""The origins that a network chooses, whatever its method, and the maps that it reads them from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def _listening(model: nn.Module, hear: Callable[[Any, tuple[Any, ...], Tensor], Tensor | None]) -> Iterator[None]:
    """Inside it, `hear(module, inputs, origin)` is called whenever the network chooses, in graph order.

    What it returns, if anything, is the origin instead.
    """
    named = [module for name, module in model.named_modules() if name.rpartition(".")[2].startswith("mass_origin_")]
    choosing = [module for module in named if getattr(module, "rule", "") != "zero"]  # the fixed grid is no choice
    handles = [module.register_forward_hook(hear) for module in choosing]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def output_and_origins(model: nn.Module, x: Tensor) -> tuple[Any, list[Tensor]]:
    """What a network says of images, and the origins that it chooses on the way, in graph order, each (B, 2)."""
    found: list[Tensor] = []

    def hear(module: Any, inputs: tuple[Any, ...], origin: Tensor) -> None:
        found.append(origin)

    with torch.no_grad(), _listening(model, hear):
        return model(x), found


@contextmanager
def frozen(model: nn.Module, origins: Sequence[Tensor]) -> Iterator[None]:
    """Inside it, one pass of the network samples from these origins (of `output_and_origins`) and chooses none."""
    given = iter(origins)
    with _listening(model, lambda module, inputs, origin: next(given)):
        yield


def origin_maps(model: nn.Module, x: Tensor) -> list[tuple[Tensor, tuple[int, int]]]:
    """The maps (B, C, H, W) from which a converted network reads its origins, in graph order, each with its period."""
    found: list[tuple[Tensor, tuple[int, int]]] = []

    def hear(module: Any, inputs: tuple[Any, ...], origin: Tensor) -> None:
        found.append(module.read(inputs[0]))

    with _listening(model, hear):
        model(x)
    return found


def phase_energies(x: Tensor, period: tuple[int, int]) -> Tensor:
    """Sums of squares of each phase, in float64 and differentiable. Shape: (B, C, H, W) -> (B, P * Q)."""
    power = x.double().square().sum(1).unflatten(2, (-1, period[1])).unflatten(1, (-1, period[0]))
    return power.sum((1, 3)).flatten(1)
